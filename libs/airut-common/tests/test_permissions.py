"""Each identity can do its job, and nothing else: shown on a server with these permissions in force."""

import asyncio
import json
from collections.abc import AsyncIterator

import nkeys
import pytest
import pytest_asyncio

from airut_common.bus import Bus, BusUnavailable, Endpoint, open_bus
from airut_common.bus.permissions import PERMISSIONS
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import (
    CONFIG_BUCKET,
    EMAIL_ACKNOWLEDGEMENTS,
    EMAIL_REPLIES,
    ORCHESTRATOR_TASKS,
    SEALED_BUCKET,
    STATUS_BUCKET,
    status_key,
)
from airut_common.config.models import InstallationConfig
from airut_common.config.store import apply_config, watch_config
from airut_common.contracts.v1 import (
    Acknowledgement,
    CloseSession,
    Reply,
    ServiceEvent,
    SessionClosed,
    TaskRequest,
    utc_now,
)
from airut_common.sealed import ServiceKey, seal, sealed_key, store_sealed, watch_secrets
from airut_common.testing.builders import acknowledgement, reply, task_request

LIMIT = 20
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Installation:
    def __init__(self, folder, server: NatsServer) -> None:
        self.folder, self.server = folder, server

    def connect(self, identity: str):
        return open_bus(self.server.url, name=identity, nkey_seed_file=self.folder / f"{identity}.nk")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """One server for all tests of this file: none of them changes what another one sees."""
    tmp_path = tmp_path_factory.mktemp("permissions")
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
        await bus.kv_put(STATUS_BUCKET, status_key(identity), b"{}")
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
        taken = acknowledgement()
        await orchestrator.publish("airut.v1.taken.email.demo", taken, msg_id=f"taken-{taken.id}")
        assert await next_of(EMAIL_ACKNOWLEDGEMENTS, Acknowledgement, gateway) == taken
        assert await gateway.get_blob(out) == b"result"
        event = ServiceEvent(service="orchestrator", at=utc_now(), level="info", code="x", text="")
        await orchestrator.publish("airut.v1.event.service.orchestrator", event)
        async with asyncio.timeout(LIMIT):
            async for message in dashboard.replay(["airut.v1.event.>"]):
                if message.subject == "airut.v1.event.service.orchestrator":
                    break


async def test_a_handler_may_refuse_for_good(installation: Installation) -> None:
    async with installation.connect("orchestrator") as orchestrator, installation.connect("admin") as admin:
        before = await admin.stream_size("AIRUT_DEAD")
        await admin._js.publish("airut.v1.task.requested.demo", b"garbage")
        task = asyncio.create_task(orchestrator.consume(ORCHESTRATOR_TASKS, TaskRequest, next_of))
        async with asyncio.timeout(LIMIT):
            while await admin.stream_size("AIRUT_DEAD") == before or await admin.stream_size("AIRUT_TASKS"):
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


FORBIDDEN_PUBLISH = [
    ("dashboard", "airut.v1.task.requested.demo"),
    ("dashboard", "airut.v1.svc.egress.local.open"),
    ("dashboard", "airut.v1.svc.orchestrator.local.stop"),
    ("dashboard", "airut.v1.svc.orchestrator.local.gc"),
    ("dashboard", "airut.v1.event.task.demo.t1"),
    ("dashboard", f"$KV.{CONFIG_BUCKET}.server"),
    ("dashboard", "$JS.API.STREAM.DELETE.AIRUT_EVENTS"),
    ("dashboard", "$JS.API.STREAM.PURGE.AIRUT_EVENTS"),
    ("dashboard", "$JS.API.CONSUMER.MSG.NEXT.AIRUT_TASKS.orchestrator"),
    ("gateway-email", "airut.v1.event.egress.demo.s1"),
    ("gateway-email", "airut.v1.event.task.demo.t1"),
    ("gateway-email", "airut.v1.reply.email.demo"),
    ("gateway-email", "airut.v1.taken.email.demo"),
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
    ("orchestrator", "$JS.API.STREAM.PURGE.OBJ_airut_blobs"),
    ("orchestrator", "$JS.API.CONSUMER.MSG.NEXT.AIRUT_REPLIES.gateway-email"),
    ("orchestrator", "$JS.API.CONSUMER.MSG.NEXT.AIRUT_REPLIES.gateway-email-taken"),
    ("orchestrator", "$JS.ACK.AIRUT_REPLIES.gateway-email.1.1.1.1.1"),
    ("orchestrator", "airut.v1.event.service.egress-proxy"),
    ("orchestrator", f"$KV.{STATUS_BUCKET}.egress-proxy.local"),
    ("orchestrator", "_INBOX_egress-proxy.forged"),
    ("dashboard", f"$KV.{SEALED_BUCKET}.egress-proxy.demo.TOKEN"),
    ("dashboard", "$O.airut_blobs.C.x"),
    ("dashboard", "$JS.API.STREAM.MSG.GET.AIRUT_TASKS"),
    ("egress-proxy", f"$JS.API.CONSUMER.CREATE.KV_{SEALED_BUCKET}.x.$KV.{SEALED_BUCKET}.>"),
    ("egress-proxy", f"$JS.API.CONSUMER.CREATE.KV_{SEALED_BUCKET}.x"),
    ("egress-proxy", f"$JS.API.DIRECT.GET.KV_{SEALED_BUCKET}.$KV.{SEALED_BUCKET}.orchestrator.demo.T"),
    ("egress-proxy", "$JS.API.STREAM.CREATE.MINE"),
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
    monkeypatch.setattr("airut_common.bus.connect.CONNECT_SECONDS", 0.7)
    with pytest.raises(BusUnavailable):
        async with open_bus(installation.server.url, name="dashboard", nkey_seed_file=None):
            pass


async def test_row_38_a_filter_for_foreign_secrets_behind_an_own_subject_is_refused(
    installation: Installation,
) -> None:
    """The subject may be published to, so the server itself must see that the body asks for something else."""
    own = f"$KV.{SEALED_BUCKET}.gateway-email.>"
    for config in (
        {"filter_subject": f"$KV.{SEALED_BUCKET}.egress-proxy.>"},
        {"filter_subjects": [own, f"$KV.{SEALED_BUCKET}.egress-proxy.>"]},
        {},
    ):
        body = {"stream_name": f"KV_{SEALED_BUCKET}", "config": {"name": "x", "ack_policy": "none", **config}}
        async with installation.connect("gateway-email") as bus:
            answer = await bus.client.request(
                f"$JS.API.CONSUMER.CREATE.KV_{SEALED_BUCKET}.x.{own}", json.dumps(body).encode()
            )
        assert "error" in json.loads(answer.data), config


async def test_row_38_what_the_server_is_made_to_say_is_not_believed(installation: Installation) -> None:
    """JetStream answers a read on any reply subject, whoever may publish there; so readers look at the origin."""
    opened: list[CloseSession] = []

    async def close(question: CloseSession) -> SessionClosed:
        opened.append(question)
        return SessionClosed(sandbox=question.sandbox)

    svc = "airut.v1.svc.egress.local.close"
    forged = reply(id="forged", text="forged")
    written = {  # what a fallen gateway may write, and make the server repeat
        svc: CloseSession(sandbox="forged").encode(),
        "airut.v1.reply.email.demo": forged.encode(),
        "airut.v1.event.egress.demo.s1": b'{"forged": true}',
        f"$KV.{CONFIG_BUCKET}.repos.forged": b"{}",
    }
    async with (
        installation.connect("gateway-email") as gateway,
        installation.connect("egress-proxy") as proxy,
        installation.connect("dashboard") as dashboard,
        installation.connect("admin") as admin,
        watch_config(dashboard) as config,
        proxy.serve("egress", {"close": Endpoint(svc, CloseSession, close)}),
    ):
        before = await admin.stream_size("AIRUT_DEAD")
        await reflect(gateway, written)
        # The forged reply is in the queue: it must end as a dead letter, and the real one behind it must arrive.
        answer = reply()
        async with installation.connect("orchestrator") as orchestrator:
            await orchestrator.publish("airut.v1.reply.email.demo", answer, msg_id=answer.id)
            assert await next_of(EMAIL_REPLIES, Reply, gateway) == answer
            asked = await orchestrator.request(
                svc, CloseSession(sandbox="real"), SessionClosed, timeout_seconds=LIMIT
            )
        assert asked == SessionClosed(sandbox="real")
        assert opened == [CloseSession(sandbox="real")]
        assert await admin.stream_size("AIRUT_DEAD") > before
        marker = ServiceEvent(service="gateway-email", at=utc_now(), level="info", code="marker", text="")
        await gateway.publish("airut.v1.event.service.gateway-email", marker)
        async with asyncio.timeout(LIMIT):
            async for message in dashboard.replay(["airut.v1.event.>"]):
                assert b"forged" not in message.data
                if b'"marker"' in message.data:
                    break
        assert await dashboard.kv_get(CONFIG_BUCKET, "repos.forged") is None
        assert "forged" not in config.repos


async def reflect(gateway: Bus, written: dict[str, bytes]) -> None:
    """Store each text where the gateway may, then have the server repeat it on a subject where it may not."""
    js = gateway.client.jetstream()
    for number, (target, text) in enumerate(written.items()):
        own = f"$O.airut_blobs.M.x{number}"
        await js.publish(own, text, headers={"Nats-Msg-Id": f"reflect-{number}"})
        await gateway.client.publish(f"$JS.API.DIRECT.GET.OBJ_airut_blobs.{own}", b"", reply=target)
        by_subject = json.dumps({"last_by_subj": own}).encode()
        await gateway.client.publish("$JS.API.STREAM.MSG.GET.OBJ_airut_blobs", by_subject, reply=target)
        key = f"$KV.{CONFIG_BUCKET}.keys.gateway-email"
        await js.publish(key, text, headers={"Nats-Msg-Id": f"reflect-key-{number}"})
        consumer = {
            "name": f"r{number}",
            "filter_subject": key,
            "ack_policy": "none",
            "deliver_subject": target,
        }
        create = f"$JS.API.CONSUMER.CREATE.KV_{CONFIG_BUCKET}.r{number}.{key}"
        body = {"stream_name": f"KV_{CONFIG_BUCKET}", "config": consumer}
        await gateway.client.publish(create, json.dumps(body).encode())
    await gateway.client.flush()
    await js.stream_info(f"KV_{CONFIG_BUCKET}")  # answered after all of the above
