"""Takes over the listening sockets that were opened inside a sandbox: `SCM_RIGHTS` over a private Unix socket.

One message: `{"version":1,"token":"…"}`, a line feed, and two or three descriptors: the TCP listener, the UDP
socket and, where the sandbox has IPv6, the listener for that. One answer: `{"ok":true}` or
`{"ok":false,"text":"…"}`, and a line feed.
"""

import array
import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

VERSION: Final = 1
_MAX_MESSAGE: Final = 4096
_DEADLINE_SECONDS: Final = 5.0
_MAX_DESCRIPTORS: Final = 8

log = structlog.get_logger()
Attach = Callable[..., Awaitable[None]]
"""Token, TCP listener, UDP socket and, where there is IPv6, its TCP listener. Raises AttachRefused; then the caller
closes the sockets."""


class AttachRefused(Exception):
    """The sockets are not taken; the text says why."""


@asynccontextmanager
async def serve_attach_socket(path: Path, attach: Attach) -> AsyncIterator[None]:
    """Listen while the context is open. The socket's file is 0600 from its first moment."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    listener = _bind(path)
    loop = asyncio.get_running_loop()
    asking: set[asyncio.Task[None]] = set()

    async def accept() -> None:
        while True:
            accepted, _ = await loop.sock_accept(listener)
            task = loop.create_task(_answer(accepted, attach), name="attach")
            asking.add(task)
            task.add_done_callback(asking.discard)

    accepting = loop.create_task(accept(), name="attach socket")
    try:
        yield
    finally:
        for task in (accepting, *asking):
            task.cancel()
        await asyncio.gather(accepting, *asking, return_exceptions=True)
        listener.close()
        path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # Bound under another name and moved, so that a predecessor's leftover is replaced and nobody finds a socket
    # that is not private yet.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        listener.bind(str(draft))
        draft.chmod(0o600)
        listener.listen(64)
        draft.replace(path)
    except OSError:
        listener.close()
        raise
    return listener


async def _answer(asker: socket.socket, attach: Attach) -> None:
    with asker:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                answer = await _take(asker, attach)
                await asyncio.get_running_loop().sock_sendall(asker, json.dumps(answer).encode() + b"\n")
        except (TimeoutError, OSError) as error:
            log.warning("attach_failed", reason=str(error) or "no message in time")


async def _take(asker: socket.socket, attach: Attach) -> dict[str, object]:
    await _readable(asker)
    message, descriptors, flags = _receive(asker)
    sockets = _sockets(descriptors)
    try:
        if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
            raise AttachRefused("the message was cut")
        _check(sockets, count=len(descriptors))
        await attach(_token(message), *sockets)
    except AttachRefused as refusal:
        for each in sockets:
            each.close()
        log.warning("attach_refused", reason=str(refusal))
        return {"ok": False, "text": str(refusal)}
    return {"ok": True}


async def _readable(asker: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(asker, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(asker)


def _receive(asker: socket.socket) -> tuple[bytes, list[int], int]:
    # Not socket.recv_fds: it drops its flags, and the descriptors would be inherited by every child.
    descriptors = array.array("i")
    room = socket.CMSG_LEN(_MAX_DESCRIPTORS * descriptors.itemsize)
    message, ancillary, flags, _ = asker.recvmsg(_MAX_MESSAGE, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, list(descriptors), flags


def _sockets(descriptors: list[int]) -> list[socket.socket]:
    found = []
    for descriptor in descriptors:
        try:
            found.append(socket.socket(fileno=descriptor))
        except OSError:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    return found


def _check(sockets: list[socket.socket], *, count: int) -> None:
    if count not in {2, 3} or len(sockets) != count:
        raise AttachRefused("expected two or three sockets")
    kinds = [(each.family, each.type & ~(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)) for each in sockets]
    if kinds[:2] != [(socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM)]:
        raise AttachRefused("expected a TCP listener and a UDP socket, both IPv4")
    if kinds[2:] not in ([], [(socket.AF_INET6, socket.SOCK_STREAM)]):
        raise AttachRefused("expected the third socket to be a TCP listener for IPv6")
    if not all(
        each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for each in (sockets[0], *sockets[2:])
    ):
        raise AttachRefused("the TCP socket does not listen")


def _token(message: bytes) -> str:
    try:
        said = json.loads(message)
        version, token = said["version"], said["token"]
    except (ValueError, TypeError, KeyError):
        raise AttachRefused("the message is not one") from None
    if version != VERSION or not isinstance(token, str):
        raise AttachRefused(f"expected version {VERSION} and a token")
    return token
