"""Network sessions of running sandboxes: opened, closed, and given back after the egress-proxy was restarted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import structlog

from airut_common.bus import Bus, BusUnavailable
from airut_common.bus.topology import STATUS_BUCKET
from airut_common.contracts.v1 import CloseSession, OpenSession, Refused, SessionClosed, SessionOpened
from airut_common.contracts.v1.subjects import egress_service
from airut_orchestrator.failures import TaskFailure
from airut_sandbox.errors import AttachFailed

OPEN_SECONDS = 20.0
"""How long a task waits for an egress-proxy that is away; it restarts within seconds."""
ASK_SECONDS = 5.0
CLOSE_SECONDS = 5.0
RETRY_SECONDS = 0.25
REATTACH_TRIES = 40
EGRESS_PROXY = "egress-proxy"

log = structlog.get_logger()


class Attachable(Protocol):
    """The part of a sandbox that takes a network."""

    async def attach_network(self, socket: Path, token: str) -> None:
        """Give its listeners to the egress-proxy."""
        ...


class EgressSessions:
    """Sessions of this host's sandboxes."""

    def __init__(self, bus: Bus, host: str) -> None:
        self._bus = bus
        self._open_subject = egress_service(host, "open")
        self._close_subject = egress_service(host, "close")
        self._attached: dict[str, tuple[OpenSession, Attachable]] = {}

    @asynccontextmanager
    async def session(self, request: OpenSession) -> AsyncIterator[SessionOpened]:
        """Open a session and close it at the end, whatever happens.

        Raises:
            TaskFailure: the egress-proxy refused it, or was away for too long.
        """
        opened = await self._open(request)
        try:
            yield opened
        finally:
            self._attached.pop(request.sandbox, None)
            await asyncio.shield(self._close(request.sandbox))

    async def attach(self, request: OpenSession, opened: SessionOpened, sandbox: Attachable) -> None:
        """Give the sandbox its network, and give it back whenever the egress-proxy returns.

        Raises:
            AttachFailed: with the reason; the sandbox has no network.
        """
        await sandbox.attach_network(Path(opened.attach_socket), opened.attach_token)
        self._attached[request.sandbox] = (request, sandbox)

    async def follow_restarts(self) -> None:
        """Re-open and re-attach all sessions whenever the egress-proxy says anew that it is ready."""
        known: bytes | None = None
        async for entry in self._bus.kv_watch(STATUS_BUCKET, EGRESS_PROXY):
            if entry is None or not entry.value or entry.value == known:
                continue
            if known is not None or self._attached:
                log.info("egress_proxy_returned", sandboxes=len(self._attached))
                await asyncio.gather(*(self._give_back(*item) for item in list(self._attached.items())))
            known = entry.value

    async def _give_back(self, sandbox_id: str, held: tuple[OpenSession, Attachable]) -> None:
        request, sandbox = held
        for _ in range(REATTACH_TRIES):
            if sandbox_id not in self._attached:
                return  # the task ended meanwhile
            try:
                opened = await self._open(request)
                await sandbox.attach_network(Path(opened.attach_socket), opened.attach_token)
            except (TaskFailure, AttachFailed) as error:
                log.warning("reattach_failed", sandbox=sandbox_id, reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                log.info("reattached", sandbox=sandbox_id)
                return

    async def _open(self, request: OpenSession) -> SessionOpened:
        answer = await _patiently(
            lambda: self._bus.request(self._open_subject, request, SessionOpened, timeout_seconds=ASK_SECONDS)
        )
        if isinstance(answer, Refused):
            raise _refusal(answer)
        return answer

    async def _close(self, sandbox: str) -> SessionClosed | None:
        question = CloseSession(sandbox=sandbox)
        try:
            answer = await self._bus.request(
                self._close_subject, question, SessionClosed, timeout_seconds=CLOSE_SECONDS
            )
        except BusUnavailable as error:
            # The proxy reaps sessions whose sandbox is gone; nothing is lost but its totals.
            log.info("session_not_closed", sandbox=sandbox, reason=str(error))
            return None
        return answer if isinstance(answer, SessionClosed) else None


async def _patiently[T](ask: Callable[[], Awaitable[T]]) -> T:
    deadline = asyncio.get_running_loop().time() + OPEN_SECONDS
    while True:
        try:
            return await ask()
        except BusUnavailable as error:
            if asyncio.get_running_loop().time() > deadline:
                raise TaskFailure(
                    f"network: {error}",
                    "The network of sandboxes (the egress-proxy) is not available, and nothing runs without it. "
                    "Nothing was run. Reply in this thread to try again.",
                ) from error
            await asyncio.sleep(RETRY_SECONDS)


def _refusal(answer: Refused) -> TaskFailure:
    match answer.code:
        case "invalid_policy":
            text = (
                "The network policy on the default branch does not validate, so nothing was run:\n\n"
                f"```\n{answer.text}\n```\n\nMend it, merge, and reply in this thread."
            )
        case "missing_secret":
            text = f"A credential of this repository has no value yet, so nothing was run: {answer.text}"
        case _:
            text = f"The sandbox was refused its network, so nothing was run: {answer.text}"
    return TaskFailure(f"network: {answer.text.splitlines()[0] if answer.text else answer.code}", text)
