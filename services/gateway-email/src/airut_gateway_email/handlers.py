"""Bus message in, mail out."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol

import structlog

from airut_common.bus import Bus, BusUnavailable, Reject, Retry
from airut_common.bus.topology import EMAIL_REPLIES
from airut_common.contracts.v1 import Reply, utc_now
from airut_gateway_email.errors import printable
from airut_gateway_email.ledger import SentLedger
from airut_gateway_email.packing import ARCHIVE_NAME, pack
from airut_gateway_email.recipients import answered_from
from airut_gateway_email.refusals import Report
from airut_gateway_email.replies import AttachedFile, OutgoingMail, build_reply
from airut_gateway_email.signing import CannotSign, MailSigner
from airut_gateway_email.smtp_out import SendFailed, SendRefused
from airut_mail_auth.addresses import BadAddress

TOO_LARGE_NOTE = "The files were left out, because the mail server does not take a mail of that size"
PACKED_NOTE = f"The files are in {ARCHIVE_NAME}, because the mail server does not take a mail of their size"

AFTER_STOP = timedelta(seconds=1)

log = structlog.get_logger()


class MailSender(Protocol):
    """`Relay`."""

    def send(self, mail: OutgoingMail) -> Awaitable[None]:
        """Returns when the mail is taken; raises `SendFailed` or `SendRefused`."""


class ReplyHandler:
    """Sends each reply once."""

    def __init__(
        self,
        bus: Bus,
        relay: MailSender,
        signer: MailSigner,
        ledger: SentLedger,
        *,
        hostname: Callable[[], str],
        addresses: Callable[[str], Sequence[str]],
        report: Report,
    ) -> None:
        """`addresses` gives a repository's, the first of all in front; none when it is not configured any more."""
        self._bus = bus
        self._relay = relay
        self._signer = signer
        self._ledger = ledger
        self._hostname = hostname
        self._addresses = addresses
        self._report = report
        self._stopping = False
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(self, reply: Reply) -> None:
        """Return acknowledges the reply.

        Raises:
            Retry: the relay or the object store is away, or the service is about to stop.
            Reject: the reply can never be sent.
        """
        if self._stopping:
            raise Retry("the gateway stops", AFTER_STOP)
        self._running += 1
        self._idle.clear()
        try:
            await self._handle(reply)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def finish(self, timeout_seconds: float) -> None:
        """Begin no further sending and wait for what is under way: cut off now, it might go out twice."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()

    async def _handle(self, reply: Reply) -> None:
        if reply.id in self._ledger:
            log.info("reply_already_sent", reply=reply.id)
            return
        reply = reply.model_copy(update={"route": answered_from(reply.route, self._addresses(reply.repo))})
        try:
            files, notes = await self._files(reply)
            await self._send(reply, files, notes)
        except (SendFailed, CannotSign, BusUnavailable) as error:
            if utc_now() - reply.created_at >= EMAIL_REPLIES.give_up_after:
                raise await self._failed(reply, f"given up after two days: {error}") from error
            after = self._ledger.next_try(reply.id)
            await self._report("warning", "reply_delayed", f"reply {reply.id} waits: {error}", reply.repo)
            raise Retry(str(error), after) from error
        except (SendRefused, BadAddress) as error:
            raise await self._failed(reply, str(error)) from error
        self._ledger.sent(reply.id)
        log.info("reply_sent", reply=reply.id, repo=reply.repo)

    async def _failed(self, reply: Reply, reason: str) -> Reject:
        """Tell the operator that an answer did not reach its reader, in the relay's words."""
        log.error("reply_refused", reply=reply.id, repo=reply.repo, reason=reason)
        text = f"reply {reply.id} to {printable(reply.route.recipient)} cannot be sent: {reason}"
        await self._report("error", "reply_refused", text, reply.repo)
        return Reject(reason)

    async def _send(self, reply: Reply, files: list[AttachedFile], notes: list[str]) -> None:
        """With its files, else with an archive of them, else with their names: an answer is worth more than none."""
        if await self._fits(reply, files, notes):
            return
        archive = await asyncio.to_thread(pack, files)
        if archive is not None and await self._fits(reply, [archive], [*notes, PACKED_NOTE]):
            return
        named = ", ".join(f"{file.name} ({len(file.data):,} bytes)" for file in files)
        await self._relay.send(await self._mail(reply, [], [*notes, f"{TOO_LARGE_NOTE}: {named}"]))

    async def _fits(self, reply: Reply, files: list[AttachedFile], notes: list[str]) -> bool:
        """Send it; False when the relay finds it too large and there is something to leave out."""
        try:
            await self._relay.send(await self._mail(reply, files, notes))
        except SendRefused as error:
            if error.too_large and files:
                return False
            raise
        return True

    async def _mail(self, reply: Reply, files: list[AttachedFile], notes: list[str]) -> OutgoingMail:
        mail = build_reply(reply, self._hostname(), files, notes)
        return await asyncio.to_thread(self._signer.sign, mail)

    async def _files(self, reply: Reply) -> tuple[list[AttachedFile], list[str]]:
        files: list[AttachedFile] = []
        notes: list[str] = []
        for ref in reply.attachments:
            try:
                data = await self._bus.get_blob(ref)
            except LookupError:
                notes.append(f"The file {ref.name} is no longer in the store and could not be attached.")
            else:
                files.append(AttachedFile(ref.name, ref.media_type, data))
        return files, notes
