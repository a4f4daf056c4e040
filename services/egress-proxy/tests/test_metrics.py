"""Numbers for Prometheus, scraped over HTTP and read by Prometheus' own parser."""

import asyncio
import socket
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from airut_common.contracts.v1 import EgressEvent, utc_now
from airut_egress_proxy.fan_out import FanOut
from airut_egress_proxy.metrics import Metrics
from airut_egress_proxy.metrics_server import serve_metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def event(kind: str = "request", **fields: Any) -> EgressEvent:
    values = {"repo": "demo", "sandbox": "s1", "task": "t1", "at": utc_now(), "seq": 0, "decision": "allow"}
    return EgressEvent(**values | {"kind": kind} | fields)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(events_dropped=lambda: 3, spans_dropped=lambda: 4, spooled_bytes=lambda: 5)


async def scrape(metrics: Metrics) -> Samples:
    async with serve_metrics("127.0.0.1:0", metrics.registry) as url, httpx.AsyncClient() as client:
        answer = await client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name.removeprefix("airut_egress_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(({"repo": "demo"} | values).items()))


async def test_everything_is_counted(metrics: Metrics) -> None:
    for each in (
        event("session", decision="info", reason="opened"),
        event("session", decision="info", reason="opened"),
        event("session", decision="info", reason="opened", sandbox="s2"),
        event("session", decision="info", reason="opened", sandbox="s3", repo="other"),
        event("session", decision="info", reason="closed", sandbox="s2", bytes_in=10**6),
        event("dns", decision="info", reason="answered", host="a.test"),
        event("dns", decision="deny", reason="rate"),
        event("connection", decision="deny", reason="mismatch: what.ever"),
        event("connection", decision="error", reason="tls: text of the sandbox"),
        event("connection", decision="info", reason="no-request"),
        event(reason="started", decision="info", request=0, duration_ms=2000, bytes_in=0),
        event(reason="domains[0] a.test", status=200, bytes_out=7, bytes_in=100, duration_ms=2500, credentials=("A", "B")),
        event(reason="domains[0] a.test", status=404, bytes_in=1, duration_ms=5),
        event(reason="host", decision="deny", status=403, duration_ms=1),
        event(reason="interrupted", decision="error"),
    ):  # fmt: skip
        metrics.record(each)
    found = await scrape(metrics)
    assert found["sessions_open", labels()] == 1
    assert found["sessions_open", labels(repo="other")] == 1
    assert found["requests_total", labels(decision="allow", obstacle="", status="2xx")] == 1
    assert found["requests_total", labels(decision="allow", obstacle="", status="4xx")] == 1
    assert found["requests_total", labels(decision="deny", obstacle="host", status="4xx")] == 1
    assert found["requests_total", labels(decision="error", obstacle="interrupted", status="")] == 1
    assert sum(value for (name, _), value in found.items() if name == "requests_total") == 4
    assert found["connections_denied_total", labels(obstacle="mismatch")] == 1
    assert found["connections_denied_total", labels(obstacle="tls")] == 1
    assert found["dns_questions_total", labels(outcome="answered")] == 1
    assert found["dns_questions_total", labels(outcome="rate")] == 1
    assert found["bytes_total", labels(direction="out")] == 7
    assert found["bytes_total", labels(direction="in")] == 101
    assert found["credentials_swapped_total", labels()] == 2
    assert found["request_duration_seconds_count", labels()] == 3
    assert found["request_duration_seconds_sum", labels()] == pytest.approx(2.506)
    assert found["request_duration_seconds_bucket", labels(le="0.01")] == 2
    assert (
        found["events_dropped_total", ()],
        found["spans_dropped_total", ()],
        found["spool_bytes", ()],
    ) == (3, 4, 5)


async def test_what_a_sandbox_makes_up_makes_no_series(metrics: Metrics) -> None:
    """Each series stays in memory, here and in Prometheus."""
    metrics.record(event(decision="deny", reason="host", status=403, duration_ms=1))
    metrics.record(event("connection", decision="deny", reason="tls"))
    metrics.record(event("dns", decision="deny", reason="malformed"))
    for made_up in ("first", "second"):
        metrics.record(
            event(decision="deny", reason=made_up, host=made_up, path=made_up, method=made_up, status=99999)
        )
        metrics.record(event("connection", decision="deny", reason=made_up, host=made_up))
        metrics.record(event("dns", decision="deny", reason=made_up, method=made_up, host=made_up))
    series = await scrape(metrics)
    before = len(series)
    assert not any("_created" in name for name, _ in series)
    for number in range(500):
        text = f"made-up-{number}"
        fields = {"host": text, "path": text, "method": text[:32], "reason": text, "stripped": (text,)}
        for kind in ("request", "connection", "dns"):
            metrics.record(event(kind, decision="deny", status=1000 + number, duration_ms=1, **fields))
    found = await scrape(metrics)
    assert len(found) == before
    assert "made-up" not in repr(found)
    assert found["requests_total", labels(decision="deny", obstacle="other", status="other")] == 502


async def test_only_metrics_are_served_and_the_port_is_free_again(metrics: Metrics) -> None:
    async with serve_metrics("127.0.0.1:0", metrics.registry) as url, httpx.AsyncClient() as client:
        base = url.removesuffix("/metrics")
        for path in ("/", "/metrics/x", "/docs"):
            assert (await client.get(base + path)).status_code == 404
        assert (await client.post(url)).status_code == 405
        port = httpx.URL(url).port
    assert port is not None
    socket.create_server(("127.0.0.1", port)).close()


async def test_a_client_that_says_nothing_holds_up_neither_others_nor_the_end(metrics: Metrics) -> None:
    async with asyncio.timeout(20):
        async with serve_metrics("127.0.0.1:0", metrics.registry) as url, httpx.AsyncClient() as client:
            _, silent = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
            assert (await client.get(url)).status_code == 200
    silent.close()


class Broken:
    def record(self, event: EgressEvent) -> None:
        raise RuntimeError(event.reason)


def test_a_watcher_that_fails_fails_alone_and_a_record_that_fails_is_heard(metrics: Metrics) -> None:
    seen: list[EgressEvent] = []

    class Kept:
        def record(self, event: EgressEvent) -> None:
            seen.append(event)

    FanOut(Kept(), [Broken(), Kept()]).record(event())
    assert len(seen) == 2
    with pytest.raises(RuntimeError):
        FanOut(Broken(), [Kept()]).record(event())
    assert len(seen) == 2
