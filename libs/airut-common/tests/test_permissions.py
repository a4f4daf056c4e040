"""Each identity can do its job, and nothing else: shown on a server with these permissions in force."""

import asyncio
from collections.abc import AsyncIterator

import nkeys
import pytest

from airut_common.bus import Bus, BusUnavailable, Endpoint, open_bus
from airut_common.bus.permissions import PERMISSIONS
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import (
    CONFIG_BUCKET,
    EMAIL_REPLIES,
    ORCHESTRATOR_TASKS,
    SEALED_BUCKET,
    STATUS_BUCKET,
)
from airut_common.config.models import InstallationConfig
from airut_common.config.store import apply_config, watch_config
from airut_common.contracts.v1 import (
    CloseSession,
    Reply,
    ServiceEvent,
    SessionClosed,
    TaskRequest,
    utc_now,
)
from airut_common.sealed import ServiceKey, seal, sealed_key, store_sealed, watch_secrets
from airut_common.testing.builders import reply, task_request

LIMIT = 20


class Installation:
    def __init__(self, folder, server: NatsServer) -> None:
        self.folder, self.server = folder, server

    def connect(self, identity: str):
        return open_bus(self.server.url, name=identity, nkey_seed_file=self.folder / f"{identity}.nk")


@pytest.fixture
async def installation(tmp_path) -> AsyncIterator[Installation]:
    public = {}
    for index, identity in enumerate(PERMISSIONS):
        seed = nkeys.encode_seed(bytes([index + 1]) * 32, nkeys.PREFIX_BYTE_USER)
        (tmp_path / f"{identity}.nk").write_bytes(seed)
        public[identity] = nkeys.from_seed(bytearray(seed)).public_key.decode()
    server = NatsServer(tmp_path / "nats", nkeys=public)
    async with server.running():
        found = Installation(tmp_path, server)
        async with found.connect("admin") as admin:
            await admin.ensure_topology()
            await apply_config(admin, InstallationConfig())
        yield found


async def next_of(consumer, model, bus: Bus):
    got = asyncio.get_running_loop().create_future()

    async def handler(message) -> None:
        got.set_result(message)

    task = asyncio.create_task(bus.consume(consumer, model, handler))
    try:
        return await asyncio.wait_for(got, LIMIT)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("identity", [name for name in PERMISSIONS if name != "admin"])
async def test_every_service_reads_configuration_and_its_secrets_and_says_that_it_is_ready(
    installation: Installation, identity: str, tmp_path
) -> None:
    key = ServiceKey.load_or_create(tmp_path / "key")
    async with installation.connect(identity) as bus, watch_config(bus) as config:
        assert config.server.max_concurrent == 4
        async with watch_secrets(bus, identity, key) as secrets:
            async with installation.connect("admin") as admin:
                await store_sealed(admin, sealed_key(identity, "demo", "TOKEN"), seal(key.public, "value-1"))
            await asyncio.wait_for(secrets.wait_changed(), LIMIT)
            assert secrets.get("demo", "TOKEN").reveal() == "value-1"
        await bus.kv_put(STATUS_BUCKET, identity, b"{}")
        event = ServiceEvent(service=identity, at=utc_now(), level="info", code="ready", text="")
        await bus.publish(f"airut.v1.event.service.{identity}", event)


async def test_the_way_of_a_task_through_the_services(installation: Installation) -> None:
    request, answer = task_request(), reply()
    async with (
        installation.connect("gateway-email") as gateway,
        installation.connect("orchestrator") as orchestrator,
        installation.connect("egress-proxy") as proxy,
        installation.connect("dashboard") as dashboard,
    ):
        blob = await gateway.put_blob(b"attachment", name="a.txt", media_type="text/plain")
        await gateway.publish("airut.v1.task.requested.demo", request, msg_id=request.id)
        assert await next_of(ORCHESTRATOR_TASKS, TaskRequest, orchestrator) == request
        assert await orchestrator.get_blob(blob) == b"attachment"

        async def close(question: CloseSession) -> SessionClosed:
            return SessionClosed(sandbox=question.sandbox)

        subject = "airut.v1.svc.egress.local.close"
        async with proxy.serve("egress", {"close": Endpoint(subject, CloseSession, close)}):
            question = CloseSession(sandbox="s1")
            closed = await orchestrator.request(subject, question, SessionClosed, timeout_seconds=5)
            assert closed == SessionClosed(sandbox="s1")
        out = await orchestrator.put_blob(b"result", name="r.txt", media_type="text/plain")
        await orchestrator.publish("airut.v1.reply.email.demo", answer, msg_id=answer.id)
        assert await next_of(EMAIL_REPLIES, Reply, gateway) == answer
        assert await gateway.get_blob(out) == b"result"
        event = ServiceEvent(service="orchestrator", at=utc_now(), level="info", code="x", text="")
        await orchestrator.publish("airut.v1.event.service.orchestrator", event)
        async with asyncio.timeout(LIMIT):
            async for message in dashboard.replay(["airut.v1.event.>"]):
                if message.subject == "airut.v1.event.service.orchestrator":
                    break


async def test_a_handler_may_refuse_for_good(installation: Installation) -> None:
    async with installation.connect("orchestrator") as orchestrator, installation.connect("admin") as admin:
        await admin._js.publish("airut.v1.task.requested.demo", b"garbage")
        task = asyncio.create_task(orchestrator.consume(ORCHESTRATOR_TASKS, TaskRequest, next_of))
        async with asyncio.timeout(LIMIT):
            while await admin.stream_size("AIRUT_DEAD") == 0 or await admin.stream_size("AIRUT_TASKS"):
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


FORBIDDEN_PUBLISH = [
    ("dashboard", "airut.v1.task.requested.demo"),
    ("dashboard", "airut.v1.svc.egress.local.open"),
    ("dashboard", "airut.v1.event.task.demo.t1"),
    ("dashboard", f"$KV.{CONFIG_BUCKET}.server"),
    ("dashboard", "$JS.API.STREAM.DELETE.AIRUT_EVENTS"),
    ("dashboard", "$JS.API.STREAM.PURGE.AIRUT_EVENTS"),
    ("dashboard", "$JS.API.CONSUMER.MSG.NEXT.AIRUT_TASKS.orchestrator"),
    ("gateway-email", "airut.v1.event.egress.demo.s1"),
    ("gateway-email", "airut.v1.event.task.demo.t1"),
    ("gateway-email", "airut.v1.reply.email.demo"),
    ("gateway-email", f"$KV.{CONFIG_BUCKET}.repos.demo"),
    ("gateway-email", f"$KV.{CONFIG_BUCKET}.keys.egress-proxy"),
    ("gateway-email", f"$KV.{SEALED_BUCKET}.gateway-email._.SMTP"),
    ("gateway-email", "airut.v1.svc.egress.local.open"),
    ("gateway-email", f"$JS.API.CONSUMER.CREATE.KV_{SEALED_BUCKET}.x.$KV.{SEALED_BUCKET}.egress-proxy.>"),
    ("gateway-email", "$JS.API.CONSUMER.MSG.NEXT.AIRUT_TASKS.orchestrator"),
    ("egress-proxy", "airut.v1.task.requested.demo"),
    ("egress-proxy", "airut.v1.reply.email.demo"),
    ("egress-proxy", "airut.v1.event.task.demo.t1"),
    ("egress-proxy", "$O.airut_blobs.C.x"),
    ("egress-proxy", "$JS.API.CONSUMER.CREATE.AIRUT_TASKS.x"),
    ("orchestrator", "airut.v1.task.requested.demo"),
    ("orchestrator", "airut.v1.event.egress.demo.s1"),
    ("orchestrator", f"$KV.{CONFIG_BUCKET}.server"),
    ("orchestrator", f"$KV.{SEALED_BUCKET}.egress-proxy.demo.TOKEN"),
    ("orchestrator", "$JS.API.STREAM.DELETE.AIRUT_TASKS"),
    ("orchestrator", "$JS.API.CONSUMER.DELETE.AIRUT_TASKS.orchestrator"),
    ("orchestrator", "$JS.API.STREAM.UPDATE.AIRUT_TASKS"),
]
FORBIDDEN_SUBSCRIBE = [
    ("dashboard", "airut.v1.>"),
    ("dashboard", "_INBOX_orchestrator.>"),
    ("gateway-email", "_INBOX_egress-proxy.>"),
    ("gateway-email", "airut.v1.task.>"),
    ("gateway-email", "$KV.>"),
    ("egress-proxy", "_INBOX_orchestrator.>"),
    ("egress-proxy", "airut.v1.reply.>"),
    ("orchestrator", ">"),
    ("orchestrator", "_INBOX_egress-proxy.>"),
    ("orchestrator", "airut.v1.svc.egress.local.open"),
]


async def refusal_of(installation: Installation, identity: str, act) -> str:
    """The server's own words on what an identity tried."""
    said: asyncio.Queue[str] = asyncio.Queue()

    async def error(problem: Exception) -> None:
        said.put_nowait(str(problem))

    async with installation.connect(identity) as bus:
        bus.client._error_cb = error
        await act(bus.client)
        await bus.client.flush()
        return await asyncio.wait_for(said.get(), LIMIT)


@pytest.mark.parametrize(("identity", "subject"), FORBIDDEN_PUBLISH)
async def test_row_38_a_foreign_publish_is_refused(
    installation: Installation, identity: str, subject: str
) -> None:
    refusal = await refusal_of(installation, identity, lambda client: client.publish(subject, b"{}"))
    assert "permissions violation for publish" in refusal.lower()


@pytest.mark.parametrize(("identity", "subject"), FORBIDDEN_SUBSCRIBE)
async def test_row_38_a_foreign_subscription_is_refused(
    installation: Installation, identity: str, subject: str
) -> None:
    refusal = await refusal_of(installation, identity, lambda client: client.subscribe(subject))
    assert "permissions violation for subscription" in refusal.lower()


async def test_nobody_connects_without_a_key(installation: Installation, monkeypatch) -> None:
    monkeypatch.setattr("airut_common.bus.connect.CONNECT_SECONDS", 2)
    with pytest.raises(BusUnavailable):
        async with open_bus(installation.server.url, name="dashboard", nkey_seed_file=None):
            pass
