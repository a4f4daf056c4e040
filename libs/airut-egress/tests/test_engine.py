"""Sessions of the engine, and the listeners' questions."""

import asyncio
import contextlib
import socket
from dataclasses import replace

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from airut_common.config.yamlfile import ConfigError
from airut_egress.credentials import BadCredential
from airut_egress.engine import EngineSettings, UnknownToken
from airut_egress.entries import UnusableCredential
from airut_egress.testing.clients import request
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import World, bearer_credential, running_world

from .attacking import is_reset


async def test_opening_again_gives_the_same_surrogates_and_keeps_connections(
    world: World, origin: Origin
) -> None:
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    reader, writer = await sandbox.open("api.example.test", 443)
    again = world.engine.open(sandbox.session.config)
    assert (again.environment, again.token) == (sandbox.environment, sandbox.token)
    writer.write(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n")
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_row_6_what_comes_in_over_ipv6_is_refused_and_recorded(world: World) -> None:
    """Also when a program inside finds the listener and speaks to it itself."""
    sandbox = await world.sandbox()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    six = socket.create_server(("::1", 0), family=socket.AF_INET6)
    port = six.getsockname()[1]
    await world.engine.attach(sandbox.token, socket.create_server(("127.0.0.1", 0)), udp, six)
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("::1", port))
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(5):
                await loop.sock_recv(client, 1)
    event = await world.recorder.wait(lambda event: event.kind == "connection")
    assert (event.decision, event.reason, event.host, event.port) == ("deny", "literal", "::1", port)
    await world.engine.close(sandbox.id)
    assert six.fileno() == -1


async def test_a_restarted_engine_derives_the_same_surrogates(tmp_path) -> None:
    """Field notes 36: and it trusts with the same authority."""
    seen = []
    for _ in range(2):
        async with running_world(tmp_path) as world:
            config = (await world.sandbox(credentials=[bearer_credential()])).session.config
            opened = world.engine.open(replace(config, sandbox="fixed"))
            seen.append((dict(opened.environment), opened.ca_certificate))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "policy", ["domains: '*.x.com'", "domain: [a.test]", "", "domains: [1.2.3.4]", "a: &a [*a"]
)
async def test_row_57_nothing_opens_on_a_policy_that_does_not_validate(world: World, policy: str) -> None:
    with pytest.raises(ConfigError, match="network-allowlist"):
        await world.sandbox(policy)
    assert world.engine.sessions == {}
    assert world.recorder.events == []


async def test_a_broken_policy_leaves_an_open_session_as_it_was(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    with pytest.raises(ConfigError):
        world.engine.open(replace(sandbox.session.config, policy="nonsense"))
    assert (await request(sandbox)).status == 200


async def test_row_27_a_credential_that_could_never_be_used_is_refused(world: World) -> None:
    with pytest.raises(UnusableCredential, match="API_KEY"):
        await world.sandbox("domains: [else.test]", credentials=[bearer_credential()])
    with pytest.raises(BadCredential, match="API_KEY") as caught:
        await world.sandbox(credentials=[bearer_credential("short")])
    assert "short" not in str(caught.value).replace("too short", "")


async def test_a_token_belongs_to_one_session_while_it_is_open(world: World) -> None:
    sandbox = await world.sandbox()
    await world.engine.close(sandbox.id)
    for token in (sandbox.token, "", "x" * 43):
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            with pytest.raises(UnknownToken):
                await world.engine.attach(token, tcp, udp)
            assert tcp.fileno() > 0  # still the caller's


async def test_attaching_again_replaces_the_sockets(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    second = await world.attach(world.engine.open(sandbox.session.config))
    with pytest.raises(OSError):
        await sandbox.open("api.example.test", 443)
    assert (await request(second)).status == 200


async def test_closing_ends_everything_and_gives_totals(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    await request(sandbox)
    await request(sandbox, host="other.example.test")
    reader, writer = await sandbox.open("api.example.test", 443)
    totals = await world.engine.close(sandbox.id)
    assert (totals.requests, totals.denied) == (2, 1)
    with contextlib.suppress(OSError):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(OSError):
        await asyncio.open_connection(*sandbox.address)
    last = world.recorder.events[-1]
    assert (last.kind, last.reason, last.bytes_in) == ("session", "closed", 19)
    assert await world.engine.close(sandbox.id) == type(totals)()
    sequence = [event.seq for event in world.recorder.events]
    assert sequence == list(range(len(sequence)))


async def test_a_request_under_way_when_the_session_closes_has_its_event(
    world: World, origin: Origin
) -> None:
    arrived = asyncio.Event()

    async def never(_seen):
        arrived.set()
        await asyncio.Event().wait()

    origin.respond = never
    sandbox = await world.sandbox()
    _, writer = await sandbox.open("api.example.test", 443)
    writer.write(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n")
    await arrived.wait()
    totals = await world.engine.close(sandbox.id)
    assert totals.requests == 1
    event = world.recorder.of("request")[0]
    assert (event.decision, event.reason) == ("error", "interrupted")
    writer.close()


async def test_settings_that_cannot_be_used_leave_the_old_ones(
    world: World, origin: Origin, tmp_path
) -> None:
    sandbox = await world.sandbox()
    bad = tmp_path / "not-a-ca.pem"
    bad.write_text("nonsense")
    for settings in (
        EngineSettings(ca_file=bad),
        EngineSettings(resolver="name:53"),
        EngineSettings(allow_networks=["x"]),
    ):
        with pytest.raises(ValueError):
            world.engine.reconfigure(settings)
    assert (await request(sandbox)).status == 200


async def test_new_settings_are_used_by_new_connections(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    world.engine.reconfigure(EngineSettings(connect_to={"api.example.test": origin.tls_address}))
    answer = await request(sandbox)
    assert answer.status == 502  # its authority is no longer trusted


def question(name: str, kind: str = "A") -> bytes:
    return dns.message.make_query(name, kind).to_wire()


async def test_row_4_names_have_addresses_of_their_own_and_nothing_is_forwarded(world: World) -> None:
    sandbox = await world.sandbox()
    answer = dns.message.from_wire(await sandbox.ask(question("api.example.test")) or b"")
    address = str(answer.answer[0][0])
    assert sandbox.session.names.name_for(address) == "api.example.test"
    empty = dns.message.from_wire(await sandbox.ask(question("api.example.test", "AAAA")) or b"")
    assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])
    events = world.recorder.of("dns")
    assert [(e.host, e.method, e.reason, e.decision) for e in events] == [
        ("api.example.test", "A", "answered", "info"),
        ("api.example.test", "AAAA", "empty", "info"),
    ]


async def test_row_4_a_flood_of_questions_is_dropped_with_one_event(world: World, monkeypatch) -> None:
    monkeypatch.setattr("airut_egress.listener._QUESTION_BURST", 5.0)
    monkeypatch.setattr("airut_egress.listener._QUESTIONS_PER_SECOND", 0.0)
    sandbox = await world.sandbox()
    for number in range(5):
        assert await sandbox.ask(question(f"n{number}.test"))
    for number in range(2):
        assert await sandbox.ask(question(f"m{number}.test")) is None
    assert [e.reason for e in world.recorder.of("dns")] == ["answered"] * 5 + ["rate"]


async def test_row_32_the_listener_itself_is_no_destination(world: World, origin: Origin) -> None:
    """A connection to 127.0.0.1:15001 was not redirected, so its original destination cannot be told."""
    sandbox = await world.sandbox()

    def unknown(_accepted):
        raise OSError("no such entry")

    world.engine._listeners[sandbox.id]._lookup = unknown
    assert await is_reset(sandbox, "api.example.test", 443)
    event = await world.recorder.wait(lambda e: e.kind == "connection")
    assert (event.decision, event.reason, event.host) == ("deny", "literal", "127.0.0.1")


async def test_a_connection_that_says_nothing_makes_room(world: World, monkeypatch) -> None:
    """Field notes 35."""
    monkeypatch.setattr("airut_egress.interception.handler._FIRST_REQUEST_SECONDS", 0.05)
    sandbox = await world.sandbox()
    reader, writer = await asyncio.open_connection(sock=await sandbox.dial("api.example.test", 443))
    with contextlib.suppress(OSError):
        assert await reader.read() == b""
    writer.close()
    event = await world.recorder.wait(lambda e: e.kind == "connection")
    assert (event.reason, event.host) == ("no-request", "api.example.test")
    assert not sandbox.session.connections
