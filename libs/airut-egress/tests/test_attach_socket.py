"""Sockets that arrive over a Unix socket."""

import array
import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from airut_egress.attach_socket import AttachRefused, serve_attach_socket

Taken = list[tuple[str, *tuple[socket.socket, ...]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


@pytest.fixture
async def taken(path: Path) -> AsyncIterator[Taken]:
    found: Taken = []

    async def attach(token: str, *given: socket.socket) -> None:
        if token != "right":
            raise AttachRefused("no open session has this token")
        found.append((token, *given))

    async with serve_attach_socket(path, attach):
        yield found
    for _, *given in found:
        for each in given:
            each.close()


def sockets() -> list[socket.socket]:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    return [socket.create_server(("127.0.0.1", 0)), udp]


async def ask(path: Path, message: bytes, given: Sequence[Any]) -> dict[str, Any]:
    """Send as the helper does, with these descriptors, and close our copies."""

    def send() -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
            asker.settimeout(10)
            asker.connect(str(path))
            rights = array.array("i", [each.fileno() for each in given])
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if given else []
            asker.sendmsg([message], ancillary)
            return asker.makefile("rb").readline()

    try:
        return json.loads(await asyncio.to_thread(send))
    finally:
        for each in given:
            each.close()


def message(**fields: Any) -> bytes:
    return json.dumps({"version": 1, "token": "right"} | fields).encode() + b"\n"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_both_sockets_are_taken_over(taken: Taken, path: Path) -> None:
    given = sockets()
    address = given[0].getsockname()
    assert await ask(path, message(), given) == {"ok": True}
    ((token, tcp, udp),) = taken
    assert token == "right"
    assert tcp.getsockname() == address
    assert udp.type & socket.SOCK_DGRAM
    assert path.stat().st_mode & 0o777 == 0o600
    for each in (tcp, udp):
        assert not os.get_inheritable(each.fileno())


async def test_row_6_a_third_socket_listens_for_ipv6(taken: Taken, path: Path) -> None:
    six = socket.create_server(("::1", 0), family=socket.AF_INET6)
    address = six.getsockname()
    assert await ask(path, message(), [*sockets(), six]) == {"ok": True}
    ((_, *given),) = taken
    assert [each.family for each in given] == [socket.AF_INET, socket.AF_INET, socket.AF_INET6]
    assert given[2].getsockname() == address
    assert not os.get_inheritable(given[2].fileno())


async def test_row_6_any_other_third_socket_is_refused(taken: Taken, path: Path) -> None:
    four = socket.create_server(("127.0.0.1", 0))
    assert "IPv6" in (await ask(path, message(), [*sockets(), four]))["text"]
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    assert "IPv6" in (await ask(path, message(), [*sockets(), datagrams]))["text"]
    deaf = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    assert "listen" in (await ask(path, message(), [*sockets(), deaf]))["text"]
    assert taken == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (message(token="wrong"), 2),
        (message(version=2), 2),
        (message(token=7), 2),
        (b"[]\n", 2),
        (b"\xff\n", 2),
        (message(), 1),
        (message(), 0),
        (message(), 4),
        (message(), 12),
    ],
)
async def test_anything_else_is_refused_and_its_descriptors_closed(
    taken: Taken, path: Path, text: bytes, count: int
) -> None:
    """Field notes 35: refused messages must not use descriptors up."""
    before = descriptors()
    given = [each for _ in range(6) for each in sockets()]
    for surplus in given[count:]:
        surplus.close()
    answer = await ask(path, text, given[:count])
    assert answer["ok"] is False
    assert answer["text"]
    assert taken == []
    async with asyncio.timeout(5):
        while descriptors() > before:
            await asyncio.sleep(0.01)


async def test_the_kinds_of_both_are_checked(taken: Taken, path: Path) -> None:
    tcp, udp = sockets()
    assert (await ask(path, message(), [udp, tcp]))["ok"] is False
    tcp, udp = sockets()
    deaf = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    assert "listen" in (await ask(path, message(), [deaf, udp]))["text"]
    tcp.close()
    pipe = os.pipe()
    assert (await ask(path, message(), [os.fdopen(each, "rb") for each in pipe]))["ok"] is False
    assert taken == []


async def test_a_leftover_is_replaced_and_nothing_stays(path: Path) -> None:
    path.write_text("left by a predecessor that was killed")

    async def attach(_token: str, _tcp: socket.socket, _udp: socket.socket) -> None:
        raise AttachRefused("no")

    async with serve_attach_socket(path, attach):
        assert (await ask(path, message(), sockets()))["text"] == "no"
    assert list(path.parent.iterdir()) == []


async def test_somebody_who_says_nothing_keeps_nobody_waiting(taken: Taken, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.connect(str(path))
        assert await ask(path, message(), sockets()) == {"ok": True}
