"""Field notes 34: an exception in any hook ends the connection; nothing goes out, and the next one works."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode

from airut_egress.addons import Judge, Tls, Transit
from airut_egress.interception import handler
from airut_egress.interception.handler import SandboxConnection
from airut_egress.testing.clients import RawAnswer, exchange, request
from airut_egress.testing.origin import Answer, Origin
from airut_egress.testing.world import World

HOOKS = [(addon, name) for addon in (Judge, Tls, Transit) for name in vars(addon) if name[0] != "_"]
BEFORE_THE_UPSTREAM = {"requestheaders", "tls_clienthello", "tls_start_client", "tls_start_server"}
SECRET = b"body of the upstream"


class Fault(Exception):
    """What a bug would raise."""


@contextlib.contextmanager
def fault(addon: type, name: str) -> Iterator[list[str]]:
    """Let a hook fail after it has done its work, which is the worst moment."""
    original = getattr(addon, name)
    reached: list[str] = []

    def broken(self: object, data: object) -> None:
        reached.append(name)
        original(self, data)
        raise Fault(name)

    setattr(addon, name, broken)
    try:
        yield reached
    finally:
        setattr(addon, name, original)


async def provoke(sandbox, origin: Origin, name: str) -> RawAnswer:
    """Do what makes a hook run."""
    origin.respond = lambda _: Answer(body=SECRET)
    if name == "tls_failed_client":
        with contextlib.suppress(OSError):
            await sandbox.open("api.example.test", 443, server_name="other.example.test", alpn=["smtp"])
        sock = await sandbox.dial("api.example.test", 443)
        sock.close()
        return RawAnswer(0, b"", b"")
    if name == "websocket_end":
        return await websocket(sandbox, origin)
    host = "wrong.allowed.test" if name == "tls_failed_server" else "api.example.test"
    if name == "error":
        origin.respond = lambda _: Answer(raw=b"HTTP/1.1 200 OK\r\nbroken\x00")
    try:
        return await request(sandbox, name=host)
    except OSError:
        return RawAnswer(0, b"", b"")


async def websocket(sandbox, origin: Origin) -> RawAnswer:
    async def take_over(reader, writer, _head) -> None:
        accept = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %s\r\n\r\n\x88\x02\x03\xe8" % accept
        )
        await reader.read()

    origin.take_over = take_over
    headers = (
        "GET / HTTP/1.1\r\nHost: api.example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answer = await exchange(sandbox, headers.encode())
    return RawAnswer(0, answer, b"")


@pytest.fixture
def wrong(world: World) -> World:
    connect_to = world.engine._means.resolver._connect_to
    connect_to["wrong.allowed.test"] = connect_to["api.example.test"]
    return world


@pytest.mark.parametrize(("addon", "name"), HOOKS)
async def test_a_fault_in_a_hook_ends_the_connection(
    wrong: World, origin: Origin, addon: type, name: str
) -> None:
    sandbox = await wrong.sandbox("domains: ['*.test']")
    with fault(addon, name) as reached:
        answer = await provoke(sandbox, origin, name)
        while not reached or sandbox.session.connections:
            await wrong.recorder.wait(lambda e: e.kind in {"request", "connection"})
            await _turn()
    assert reached
    if name in BEFORE_THE_UPSTREAM:
        assert origin.seen == []
        assert SECRET not in answer.body
    if name in {"tls_clienthello", "tls_start_client"}:
        assert [(e.reason, e.host) for e in wrong.recorder.of("connection")] == [
            ("internal", "api.example.test")
        ]
    if name == "responseheaders":
        assert answer.status == 0
    if name != "websocket_end":
        assert sum(e.decision == "allow" for e in wrong.recorder.events) <= (name == "response")
    origin.take_over = None
    origin.respond = lambda _: Answer()
    assert (await request(sandbox)).status == 200


async def _turn() -> None:
    import asyncio

    await asyncio.sleep(0)


@pytest.mark.parametrize("name", ["requestheaders", "responseheaders"])
async def test_the_faults_above_are_worth_testing(
    wrong: World, origin: Origin, name: str, monkeypatch
) -> None:
    """The same faults under mitmproxy's own manners: logged, and the traffic goes on."""

    async def naive(self: SandboxConnection, hook) -> None:
        with contextlib.suppress(Exception):
            await self.handle_hook(hook)
        if hook.blocking:
            await self.server_event(events.HookCompleted(hook))

    monkeypatch.setattr(SandboxConnection, "hook_task", naive)
    monkeypatch.setattr(handler.SandboxTlsLayer, "__init__", _plain_http_inside)
    sandbox = await wrong.sandbox("domains: ['*.test']")
    addon = Judge if name == "requestheaders" else Transit
    with fault(addon, name) as reached:
        answer = await provoke(sandbox, origin, name)
    assert reached
    assert len(origin.seen) == 1
    assert answer.body == SECRET


def _plain_http_inside(self, context, port) -> None:
    from mitmproxy.proxy.layers.tls import ClientTLSLayer

    from airut_egress.interception.tls_layer import Ground

    Ground(context)
    ClientTLSLayer.__init__(self, context)
    self.child_layer = HttpLayer(context, HTTPMode.transparent)
    self._port = port


async def test_a_hook_that_nobody_foresaw_ends_the_connection(
    world: World, origin: Origin, monkeypatch
) -> None:
    monkeypatch.setattr(handler, "_WITHOUT_WORK", frozenset())
    sandbox = await world.sandbox()
    with contextlib.suppress(OSError):
        await request(sandbox)
    assert origin.seen == []


async def test_a_crash_inside_of_a_layer_ends_the_connection(
    world: World, origin: Origin, monkeypatch
) -> None:
    def crash(*_args):
        raise Fault("in a layer")
        yield

    monkeypatch.setattr("airut_egress.interception.http_layer.JudgedStream.make_server_connection", crash)
    sandbox = await world.sandbox()
    assert (await request(sandbox)).status == 0
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason) == ("error", "internal")
    assert origin.seen == []


async def test_a_fault_in_the_sink_ends_the_connection(world: World, origin: Origin, monkeypatch) -> None:
    """Nothing leaves without its event."""

    def broken(_event) -> None:
        raise Fault("sink")

    sandbox = await world.sandbox("domains: [else.test]")
    monkeypatch.setattr(world.recorder, "record", broken)
    with contextlib.suppress(OSError):
        assert (await request(sandbox)).status == 0
    assert origin.seen == []


async def test_a_connection_that_cannot_be_judged_is_closed_and_the_next_is_served(
    world: World, origin: Origin
) -> None:
    sandbox = await world.sandbox()
    lookup = world.engine._listeners[sandbox.id]._lookup
    world.engine._listeners[sandbox.id]._lookup = lambda _: 1 / 0
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(sock=await sandbox.dial("api.example.test", 80))
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    world.engine._listeners[sandbox.id]._lookup = lookup
    assert (await request(sandbox)).status == 200
