"""Where a connection goes: ports, addresses, names that disagree (field notes 1-3, 11, 12, 19)."""

import asyncio
import contextlib
import json
import ssl

import pytest

from airut_egress.testing.clients import first_answer, request
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import World

from .attacking import HOST, LEAF, denied, is_reset


@pytest.mark.parametrize("port", [22, 53, 8443, 25, 5432])
async def test_row_1_and_3_other_ports_are_reset_and_named(world: World, origin: Origin, port: int) -> None:
    sandbox = await world.sandbox()
    assert await is_reset(sandbox, HOST, port)
    await denied(world, "connection", reason="port", host=HOST, port=port)
    assert origin.connections == 0


@pytest.mark.parametrize("address", ["1.1.1.1", "127.0.0.1", "169.254.169.254", "10.0.0.1"])
async def test_row_2_an_address_is_never_a_name(world: World, origin: Origin, address: str) -> None:
    sandbox = await world.sandbox(f"domains: ['*.test', {HOST}]")
    # Even with a name that is allowed in the request.
    answer = await first_answer(
        sandbox, b"GET / HTTP/1.1\r\n" + LEAF.encode() + b"\r\n", name=address, port=80
    )
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "literal")
    await denied(world, reason="literal", port=80)
    assert origin.connections == 0


async def test_rows_1_and_2_an_address_on_443_is_refused_before_any_hello(world: World) -> None:
    """Whatever name came, it could not be the one that leads there."""
    assert await is_reset(await world.sandbox(), "1.1.1.1", 443)
    await denied(world, "connection", reason="literal", host="1.1.1.1", port=443)


@pytest.mark.parametrize(
    "host",
    ["1.1.1.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0177.0.0.1", "127.1", "1.1.1.1:443"],
)
async def test_row_2_disguised_addresses_in_host(world: World, origin: Origin, host: str) -> None:
    sandbox = await world.sandbox()
    answer = await request(sandbox, host=host)
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "literal")
    assert origin.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "other.example.test", "api.example.test.evil.test", "user@api.example.test", "api.example.test:444",
        "api.example.test:80", "api.example.test:", "api..example.test", "api.example.test,other.example.test",
        "api.example.test/", "api.example.test#x", "%61pi.example.test", "api.example.test:0443x", "", " ",
    ],
)  # fmt: skip
async def test_row_11_and_12_host_that_is_not_the_server_name(
    world: World, origin: Origin, host: str
) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']")
    answer = await request(sandbox, host=host)
    if host == "":  # request() puts the name there
        assert answer.status == 200
        return
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (421, "mismatch")
    await denied(world, reason="mismatch", host=HOST)
    assert origin.connections == 0


@pytest.mark.parametrize("host", ["API.Example.Test", "api.example.test.", "api.example.test:443"])
async def test_row_12_other_spellings_of_the_name_are_the_name(
    world: World, origin: Origin, host: str
) -> None:
    sandbox = await world.sandbox()
    assert (await request(sandbox, host=host)).status == 200
    assert origin.seen[0].header("host") == HOST


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET https://other.example.test/ HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        "GET https://api.example.test/ HTTP/1.1\r\nHost: other.example.test\r\n\r\n",
        "GET http://other.example.test/ HTTP/1.1\r\nHost: other.example.test\r\n\r\n",
    ],
)
async def test_row_11_all_authorities_agree(world: World, origin: Origin, head: str) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']")
    answer = await first_answer(sandbox, head.encode())
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (421, "mismatch")
    assert origin.connections == 0


async def test_an_absolute_target_goes_out_in_origin_form(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    assert (await request(sandbox, target=f"https://{HOST}/a/b?c")).status == 200
    assert origin.seen[0].target == "/a/b?c"


@pytest.mark.parametrize("server_name", ["other.example.test", "api.example.test.evil.test"])
async def test_row_11_a_foreign_server_name_is_refused(
    world: World, origin: Origin, server_name: str
) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']")
    with pytest.raises(OSError, match=r"(?i)unrecognized"):
        await sandbox.open(HOST, 443, server_name=server_name)
    await denied(world, "connection", reason="mismatch", host=server_name, port=443)
    assert origin.connections == 0


async def test_row_11_nothing_follows_the_alert_of_a_refusal(world: World) -> None:
    """No part of a handshake, which would show a certificate for a name that was refused."""
    sandbox = await world.sandbox()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = sandbox.ssl_context().wrap_bio(incoming, outgoing, server_hostname="other.example.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    reader, writer = await asyncio.open_connection(sock=await sandbox.dial("api.example.test", 443))
    writer.write(outgoing.read())
    async with asyncio.timeout(10):
        assert await reader.read() == b"\x15\x03\x03\x00\x02\x02\x70"
    writer.close()


async def test_row_19_no_server_name(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    context = sandbox.ssl_context()
    context.check_hostname = False
    with pytest.raises(OSError, match=r"(?i)unrecognized"):
        await asyncio.open_connection(sock=await sandbox.dial(HOST, 443), ssl=context, server_hostname="")
    await denied(world, "connection", reason="mismatch", host=HOST)


async def test_a_restarted_proxy_learns_the_name_from_the_client(world: World, origin: Origin) -> None:
    """The sandbox's resolver cache outlives the table of names; an address follows from its name."""
    sandbox = await world.sandbox("domains: ['*.example.test', plain.allowed.test]")
    first = sandbox.session.names
    sockets = [
        await sandbox.dial(HOST, 443),
        await sandbox.dial("plain.allowed.test", 80),
        await sandbox.dial(HOST, 443),
    ]
    assert first is sandbox.session.names
    sandbox.session.names = type(first)()
    del first
    await asyncio.sleep(0)
    tls = sandbox.ssl_context()
    for sock in sockets[:2]:
        sock.close()
    world.destinations.clear()

    def forgotten(name: str, port: int):
        sock = sandbox.expect(name, port)
        sandbox.session.names = type(sandbox.session.names)()
        return sock

    for name, port, server_name, works in [
        (HOST, 443, HOST, True), ("plain.allowed.test", 80, None, True), (HOST, 443, "other.example.test", False),
    ]:  # fmt: skip
        sock = forgotten(name, port)
        await asyncio.get_running_loop().sock_connect(sock, sandbox.address)
        extra = {"ssl": tls, "server_hostname": server_name} if server_name else {}
        with contextlib.nullcontext() if works else pytest.raises(OSError):
            reader, writer = await asyncio.open_connection(sock=sock, **extra)
            writer.write(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
    sockets[2].close()
