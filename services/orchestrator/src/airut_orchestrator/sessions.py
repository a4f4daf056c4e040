"""Network sessions of running sandboxes: opened, closed, and given back after the egress-proxy was restarted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import structlog

from airut_common.bus import Bus, BusUnavailable
from airut_common.bus.topology import STATUS_BUCKET, status_key
from airut_common.config.models import BUILD_ALLOWLIST
from airut_common.contracts.v1 import (
    CloseSession,
    ListSessions,
    OpenSession,
    Refused,
    SessionClosed,
    SessionOpened,
    SessionsListed,
)
from airut_common.contracts.v1.subjects import egress_service
from airut_orchestrator.failures import TaskFailure
from airut_orchestrator.patience import patiently
from airut_sandbox.errors import AttachFailed

OPEN_SECONDS = 20.0
"""How long a task waits for an egress-proxy that is away; it restarts within seconds."""
ATTACH_SECONDS = 10.0
ASK_SECONDS = 5.0
CLOSE_SECONDS = 5.0
RETRY_SECONDS = 0.25
SLOWEST_RETRY_SECONDS = 5.0
SWEEP_SECONDS = 30.0
"""How long a session that nobody holds may stay open; one that could not be closed is looked for at once."""
EGRESS_PROXY = "egress-proxy"

log = structlog.get_logger()


class Attachable(Protocol):
    """The part of a sandbox that takes a network."""

    async def attach_network(self, socket: Path, token: str) -> None:
        """Give its listeners to the egress-proxy.

        Raises:
            AttachFailed: with the reason.
        """
        ...


class Session:
    """The network of one sandbox, from before it exists until it is gone."""

    def __init__(self, sessions: "EgressSessions", request: OpenSession, opened: SessionOpened) -> None:
        self.opened = opened
        self._sessions = sessions
        self._request = request
        self._sandbox: Attachable | None = None
        self._closed = False
        self._totals: SessionClosed | None = None
        self._attaching = asyncio.Lock()

    async def attach(self, sandbox: Attachable) -> None:
        """Give the sandbox its network; from now on it is given back whenever the egress-proxy returns.

        Raises:
            AttachFailed: with the reason; the sandbox has no network.
            TaskFailure: the egress-proxy went away meanwhile, and stayed away.
        """
        self._sandbox = sandbox
        loop = asyncio.get_running_loop()
        end = loop.time() + ATTACH_SECONDS
        async with self._attaching:
            while True:
                try:
                    await self._hand_over(sandbox)
                except AttachFailed as error:
                    if loop.time() > end:
                        raise
                    # Its tokens die with it: a proxy restarted since the session was opened has to be asked anew.
                    log.info("attach_again", sandbox=self._request.sandbox, reason=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                    self.opened = await self._sessions.ask_open(self._request)
                else:
                    return

    async def give_back(self) -> None:
        """The egress-proxy is a new one: open the session there and attach the sandbox, until it works."""
        delay = RETRY_SECONDS
        async with self._attaching:
            while self._sandbox is not None and not self._closed:
                try:
                    self.opened = await self._sessions.ask_open(self._request)
                    await self._hand_over(self._sandbox)
                except (TaskFailure, AttachFailed) as error:
                    log.warning("reattach_failed", sandbox=self._request.sandbox, reason=str(error))
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, SLOWEST_RETRY_SECONDS)
                else:
                    log.info("reattached", sandbox=self._request.sandbox)
                    return

    async def close(self) -> SessionClosed | None:
        """Cut every connection; the surrogates are worth nothing any more. Totals, as far as they can be had."""
        if not self._closed:
            self._closed = True
            self._totals = await self._sessions.ask_close(self._request.sandbox)
        return self._totals

    async def _hand_over(self, sandbox: Attachable) -> None:
        await sandbox.attach_network(Path(self.opened.attach_socket), self.opened.attach_token)


class EgressSessions:
    """Sessions of this host's sandboxes."""

    def __init__(self, bus: Bus, host: str) -> None:
        self._bus = bus
        self._open_subject = egress_service(host, "open")
        self._close_subject = egress_service(host, "close")
        self._list_subject = egress_service(host, "list")
        self._status_key = status_key(EGRESS_PROXY, host)
        self._sessions: dict[str, Session] = {}
        self._opening: set[str] = set()
        self._leftovers = asyncio.Event()

    @asynccontextmanager
    async def session(self, request: OpenSession) -> AsyncIterator[Session]:
        """Open a session; closed at the end, whatever happens.

        Raises:
            TaskFailure: the egress-proxy refused it, or was away for too long.
        """
        self._opening.add(request.sandbox)
        try:
            session = Session(self, request, await self.ask_open(request))
            self._sessions[request.sandbox] = session
        except (TaskFailure, asyncio.CancelledError):
            # Nobody answered in time, or was waited for; it may have been opened all the same.
            self._leftovers.set()
            raise
        finally:
            self._opening.discard(request.sandbox)
        try:
            yield session
        finally:
            del self._sessions[request.sandbox]
            await asyncio.shield(session.close())

    async def follow_restarts(self) -> None:
        """Give all sandboxes their network back whenever the egress-proxy says anew that it is ready."""
        known: bytes | None = None
        giving: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            async for entry in self._bus.kv_watch(STATUS_BUCKET, self._status_key):
                if entry is None or not entry.value or entry.value == known:
                    continue
                known = entry.value
                for sandbox, session in self._sessions.items():
                    # One that still tries talks to whoever answers, but this one certainly does.
                    if (earlier := giving.pop(sandbox, None)) is not None:
                        earlier.cancel()
                    giving[sandbox] = group.create_task(session.give_back(), name=f"give-back-{sandbox[:8]}")
                giving = {name: task for name, task in giving.items() if not task.done()}

    async def sweep(self) -> None:
        """Until cancelled: close every session of this host that nobody here holds. What a killed orchestrator had
        open, or had asked for, is known to the egress-proxy alone; left open, it holds a namespace open."""
        while True:
            self._leftovers.clear()
            if await self._swept():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._leftovers.wait(), SWEEP_SECONDS)
            else:
                await asyncio.sleep(SLOWEST_RETRY_SECONDS)

    async def _swept(self) -> bool:
        """Whether the egress-proxy answered everything."""
        try:
            found = await self._listed()
        except BusUnavailable as error:
            log.info("sessions_not_listed", reason=str(error))
            return False
        closed_all = True
        for sandbox in found:
            if sandbox not in self._sessions and sandbox not in self._opening:
                log.info("leftover_session", sandbox=sandbox)
                if await self.ask_close(sandbox) is None:
                    closed_all = (
                        False  # a part of the egress-proxy may hang: the others are asked all the same
                    )
        return closed_all

    async def _listed(self) -> list[str]:
        found: list[str] = []
        while True:
            question = ListSessions(after=found[-1] if found else None)
            page = await self._bus.request(
                self._list_subject, question, SessionsListed, timeout_seconds=ASK_SECONDS
            )
            if isinstance(page, Refused):
                raise BusUnavailable(page.text)
            found += [session.sandbox for session in page.sessions]
            if not page.more or not page.sessions:
                return found

    async def ask_open(self, request: OpenSession) -> SessionOpened:
        """Ask for a session, patiently.

        Raises:
            TaskFailure: refused, or nobody answered for too long.
        """

        def ask() -> Awaitable[SessionOpened | Refused]:
            return self._bus.request(self._open_subject, request, SessionOpened, timeout_seconds=ASK_SECONDS)

        try:
            answer = await patiently(ask, OPEN_SECONDS)
        except BusUnavailable as error:
            raise _unavailable(error) from error
        if isinstance(answer, Refused):
            raise _refusal(answer, request)
        return answer

    async def ask_close(self, sandbox: str) -> SessionClosed | None:
        """Ask for a session's end; None when nobody answered."""
        question = CloseSession(sandbox=sandbox)
        try:
            answer = await self._bus.request(
                self._close_subject, question, SessionClosed, timeout_seconds=CLOSE_SECONDS
            )
        except BusUnavailable as error:
            log.info("session_not_closed", sandbox=sandbox, reason=str(error))
            self._leftovers.set()
            return None
        return answer if isinstance(answer, SessionClosed) else None


def _unavailable(error: BusUnavailable) -> TaskFailure:
    return TaskFailure(
        f"network: {error}",
        "The network of sandboxes (the egress-proxy) is not available, and nothing runs without it. "
        "Nothing was run. Reply in this thread to try again.",
        "failed",
    )


def _refusal(answer: Refused, request: OpenSession) -> TaskFailure:
    reason = f"network: {answer.text.splitlines()[0] if answer.text else answer.code}"
    match answer.code:
        case "invalid_policy" if request.policy_source == BUILD_ALLOWLIST:
            text = (
                "What image builds may reach is not configured well in this installation, so nothing was run:\n\n"
                f"```\n{answer.text}\n```\n\nYour operator can mend it; then reply in this thread."
            )
            return TaskFailure(reason, text)
        case "invalid_policy":
            text = (
                "The network policy on the default branch does not validate, so nothing was run:\n\n"
                f"```\n{answer.text}\n```\n\nMend it, merge, and reply in this thread."
            )
            return TaskFailure(reason, text)
        case "missing_secret" | "unusable_credential":
            text = f"A credential of this repository cannot be used, so nothing was run: {answer.text}"
            return TaskFailure(reason, text)
    return TaskFailure(
        reason, f"The sandbox was refused its network, so nothing was run: {answer.text}", "failed"
    )
