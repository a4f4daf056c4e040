"""IMAP in: a mailbox is emptied into task requests. A message leaves its folder only when its fate is sealed.

Nothing about a message is remembered between two connections. A mail that was stored but not yet deleted comes again,
gets the same request id, and is dropped by the bus or by the orchestrator, which keeps every id for as long as a mail
may be in coming (`longest_age`).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from airut_common.config.imap import ImapConfig
from airut_common.config.models import RepoConfig
from airut_common.contracts.v1 import utc_now
from airut_common.secrets import Secret
from airut_gateway_email.errors import MailError, MailLater, MailRefused
from airut_gateway_email.imap_mail import check_listed, recipients_of
from airut_gateway_email.imap_session import ImapFailed, ImapLoginFailed, ImapSession, Listed
from airut_gateway_email.rawmail import parse_arrived
from airut_gateway_email.refusals import Report
from airut_gateway_email.requests import Arrival
from airut_gateway_email.sender_auth import Mailbox
from airut_gateway_email.spool import IN_MEMORY_BYTES, Incoming, SpoolFile

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 120.0
FETCH_BYTES = IN_MEMORY_BYTES
"""In one answer of the server, which is held in memory."""

log = structlog.get_logger()


@dataclass(frozen=True)
class ImapRules:
    """What the fetcher asks the rest of the gateway."""

    settings: Callable[[], ImapConfig | None]
    """The mailbox as configured now; None: there is none."""
    max_message_bytes: Callable[[], int]
    longest_age: Callable[[], timedelta]
    """Older mails are refused."""
    repos: Callable[[], Mapping[str, RepoConfig]]
    credential: Callable[[ImapConfig], Awaitable[Secret]]
    """Password or access token; raises `ImapFailed`."""
    credential_refused: Callable[[], None]
    """The server did not take it."""
    accept: Callable[[Arrival], Awaitable[str]]
    """Store a mail and return its request id; raises `MailError`."""
    refused: Callable[[MailError, str, str | None], Awaitable[None]]
    """Tell the operator: the error, the mailbox's host, the repository if known."""
    report: Report
    spool: Path
    """On the file system that takes large mails."""


class ImapFetcher:
    """Fetches until closed; connects again by itself, and when the configuration names another mailbox."""

    def __init__(self, rules: ImapRules) -> None:
        self._rules = rules
        self._changed = asyncio.Event()
        self._stopping = False
        self._session: ImapSession | None = None
        self._idling = False
        self._ended = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="imap")
        self._failing = False

    async def run(self) -> None:
        """Fetch until `close`."""
        try:
            await self._run()
        finally:
            self._thread.shutdown(wait=False)
            self._ended.set()

    async def _run(self) -> None:
        retry = FIRST_RETRY_SECONDS
        while not self._stopping:
            # Nothing is awaited between here and reading the settings, so no change is missed.
            self._changed.clear()
            config = self._rules.settings()
            if config is None:
                await self._changed.wait()
                continue
            began = time.monotonic()
            try:
                await self._serve(config)
            except ImapFailed as error:
                if not self._changed.is_set():
                    await self._tell_failure(error)
            if time.monotonic() - began > LONGEST_RETRY_SECONDS:
                retry = FIRST_RETRY_SECONDS
            await self._pause(retry)
            retry = min(retry * 2, LONGEST_RETRY_SECONDS)

    def wake(self) -> None:
        """The configuration or a secret has changed: begin anew, as soon as the mail in hand is done with."""
        self._changed.set()
        if self._idling and self._session is not None:
            self._session.abort()

    async def close(self, drain_seconds: float) -> None:
        """End `run`; what is in hand may be finished for a while."""
        self._stopping = True
        self.wake()
        try:
            async with asyncio.timeout(drain_seconds):
                await self._ended.wait()
        except TimeoutError:
            if self._session is not None:
                self._session.abort()

    async def _serve(self, config: ImapConfig) -> None:
        credential = await self._rules.credential(config)
        try:
            session = await self._call(ImapSession.open, config, credential)
        except ImapLoginFailed:
            self._rules.credential_refused()
            raise
        self._session = session
        try:
            await self._tell_success(config)
            while not self._changed.is_set():
                done_with = 0
                for listed in await self._call(session.look):
                    if self._changed.is_set():
                        return
                    done_with += await self._handle(session, config, listed)
                # Of mail that came while others were fetched, the server has told already, and tells no more.
                if not done_with:
                    await self._wait(session, config.poll_seconds)
        finally:
            self._session = None
            session.abort()
            self._thread.submit(session.close)  # in its own thread, in which it may still be at work

    async def _wait(self, session: ImapSession, seconds: float) -> None:
        if not session.announces:
            await self._pause(seconds)
            return
        self._idling = True
        try:
            if not self._changed.is_set():
                await self._call(session.wait, seconds)
        finally:
            self._idling = False

    async def _handle(self, session: ImapSession, config: ImapConfig, listed: Listed) -> bool:
        """Take one message in; whether it has left the folder."""
        try:
            check_listed(listed, self._rules.max_message_bytes(), self._rules.longest_age(), utc_now())
            try:
                with Incoming(self._rules.spool) as incoming:
                    if not await self._fetch(session, listed, incoming):
                        return False  # somebody else has taken it away
                    await self._take(config, await incoming.finish())
            except (MailError, ImapFailed):
                raise
            except Exception as error:
                # One mail that trips over a mistake of ours must not keep the others from coming in.
                log.exception("mail_failed", uid=listed.uid)
                raise MailLater("an internal error; it is tried again", status="4.3.0") from error
        except MailLater as error:
            await self._rules.refused(error, config.host, None)
            return False
        except MailRefused as error:
            await self._rules.refused(error, config.host, None)
            await self._call(session.move, listed.uid, config.refused_folder)
        else:
            if config.after == "delete":
                await self._call(session.delete, listed.uid)
            else:
                await self._call(session.move, listed.uid, config.done_folder)
        return True

    async def _fetch(self, session: ImapSession, listed: Listed, incoming: Incoming) -> bool:
        """The whole message; False: it is gone.

        Raises:
            MailRefused: it is too large.
            MailLater: there is no room for it.
        """
        max_bytes = self._rules.max_message_bytes()
        while True:
            wanted = min(FETCH_BYTES, max_bytes + 1 - incoming.size_bytes)
            data = await self._call(session.fetch, listed.uid, incoming.size_bytes, wanted)
            if data is None:
                return False
            await incoming.add(data)
            if incoming.size_bytes > max_bytes:
                raise MailRefused("the mail is larger than its server said", code=552, status="5.3.4")
            # A server that gives less than it was asked for is at the end only if it says the same of the size.
            if not data or (len(data) < wanted and incoming.size_bytes >= listed.size_bytes):
                return True

    async def _take(self, config: ImapConfig, data: bytes | SpoolFile) -> None:
        """One request for each repository that the mail is for.

        Raises:
            MailLater: one of them has to wait; those that are stored already are recognised next time.
            MailRefused: none of them takes it.
        """
        now = utc_now()
        mail = await parse_arrived(data)
        refusals: list[MailRefused] = []
        accepted = 0
        for recipient in recipients_of(mail, self._rules.repos()):
            try:
                await self._rules.accept(Arrival(Mailbox(config.host), recipient, data, now))
                accepted += 1
            except MailRefused as error:
                refusals.append(error)
        if not accepted:
            raise refusals[0]
        for refusal in refusals:
            await self._rules.refused(refusal, config.host, None)

    async def _call[**P, T](self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **kwargs))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _tell_failure(self, error: ImapFailed) -> None:
        log.warning("imap_failed", reason=str(error))
        if not self._failing:
            self._failing = True
            await self._rules.report("error", "imap_failed", f"no mail can be fetched: {error}")

    async def _tell_success(self, config: ImapConfig) -> None:
        log.info("imap_connected", host=config.host, folder=config.folder)
        if self._failing:
            self._failing = False
            await self._rules.report("info", "imap_connected", f"mail is fetched from {config.host} again")
