"""Prometheus and OpenTelemetry beside the bus: the service as a process, and requests out of a namespace."""

import asyncio
import contextlib
import json
import socket
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from airut_common.bus.topology import STATUS_BUCKET, status_key
from airut_common.config.models import EgressConfig, InstallationConfig
from airut_common.config.store import apply_config
from airut_common.contracts.v1 import ServiceEvent, SessionOpened
from airut_common.contracts.v1.subjects import service_event
from airut_common.processes import run
from airut_egress.testing.origin import Origin

from .collector import attributes, collecting
from .conftest import SECRET, SERVICE, Proxy, Starter, open_session, repo_config
from .test_namespace import NAME, event_of, namespace, opened, origin  # noqa: F401 (a fixture)

pytestmark = pytest.mark.integration


async def configure(starter: Starter, egress: EgressConfig) -> None:
    await apply_config(starter.bus, InstallationConfig(egress=egress, repos={"demo": repo_config("API_KEY")}))


async def address(proxy: Proxy) -> str:
    entry = await proxy.bus.kv_get(STATUS_BUCKET, status_key(SERVICE))
    assert entry is not None
    return str(json.loads(entry.value)["addresses"]["metrics"])


async def test_a_request_is_counted_and_traced(starter: Starter, origin: Origin, tmp_path: Path) -> None:  # noqa: F811
    async with collecting() as (collector, endpoint):
        egress = EgressConfig(
            connect_to={NAME: origin.tls_address},
            ca_file=origin.write_ca(tmp_path / "upstream.pem"),
            metrics_listen="127.0.0.1:0",
            traces_endpoint=endpoint,
        )
        await configure(starter, egress)
        async with starter.running() as proxy, namespace(tmp_path) as inside:
            await proxy.set_secret("API_KEY", SECRET)
            request = open_session()
            session = await opened(proxy, request)
            await inside.attach(session)
            bearer = f"authorization: Bearer {session.environment['API_KEY']}"
            await inside.curl("-H", bearer, f"https://{NAME}/v1/messages?query-is-private=1")
            told = await event_of(proxy, request.sandbox, "request", NAME)
            await collector.wait(1)
            async with httpx.AsyncClient() as client:
                text = (await client.get(await address(proxy))).text
    numbers = {
        (sample.name, sample.labels.get("decision", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert numbers["airut_egress_requests_total", "allow"] == 1
    assert numbers["airut_egress_credentials_swapped_total", ""] == 1
    assert numbers["airut_egress_sessions_open", ""] == 1
    assert numbers["airut_egress_dns_questions_total", ""] >= 1
    assert numbers["airut_egress_events_dropped_total", ""] == 0
    assert NAME not in text
    (span,) = collector.spans
    found = attributes(span.attributes)
    assert (found["airut.task"], found["server.address"], found["url.path"]) == (
        request.task,
        NAME,
        "/v1/messages",
    )
    assert round((span.end_time_unix_nano - span.start_time_unix_nano) / 1e6, 2) == told.duration_ms
    for private in (b"query-is-private", SECRET.encode(), session.environment["API_KEY"].encode()):
        assert private not in collector.raw


async def test_a_port_that_is_taken_is_reported_and_sandboxes_have_their_network(starter: Starter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        await configure(starter, EgressConfig(metrics_listen=listen))
        async with starter.running() as proxy:
            await proxy.set_secret("API_KEY", SECRET)
            assert isinstance(await opened(proxy, open_session()), SessionOpened)
            async with (
                asyncio.timeout(30),
                contextlib.aclosing(proxy.bus.replay([service_event(SERVICE)])) as said,
            ):
                async for message in said:
                    event = ServiceEvent.decode(message.data)
                    if event.level == "error":
                        break
    assert event.code == "config_invalid"
    assert listen in event.text


async def test_what_is_not_wanted_is_not_even_imported() -> None:
    wanted = "import sys, airut_egress_proxy.app; print([m for m in ('prometheus_client', 'opentelemetry.sdk', 'uvicorn') if m in sys.modules])"
    done = await run([sys.executable, "-c", wanted], timeout_seconds=60)
    assert done.stdout == b"[]\n"
