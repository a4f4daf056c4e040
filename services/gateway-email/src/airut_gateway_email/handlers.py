"""Bus message in, mail out."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from airut_common.bus import Bus, BusUnavailable, Reject, Retry
from airut_common.bus.topology import EMAIL_ACKNOWLEDGEMENTS, EMAIL_REPLIES
from airut_common.contracts.v1 import Acknowledgement, Reply, utc_now
from airut_gateway_email.acknowledgements import acknowledgement_key, build_acknowledgement
from airut_gateway_email.errors import printable
from airut_gateway_email.ledger import SentLedger
from airut_gateway_email.outgoing import OutgoingMail
from airut_gateway_email.packing import ARCHIVE_NAME, pack
from airut_gateway_email.recipients import answered_from
from airut_gateway_email.refusals import Report
from airut_gateway_email.replies import AttachedFile, build_reply
from airut_gateway_email.sending import Sending
from airut_gateway_email.signing import CannotSign, MailSigner
from airut_gateway_email.smtp_out import SendFailed, SendRefused
from airut_mail_auth.addresses import BadAddress

TOO_LARGE_NOTE = "The files were left out, because the mail server does not take a mail of that size"
PACKED_NOTE = f"The files are in {ARCHIVE_NAME}, because the mail server does not take a mail of their size"

log = structlog.get_logger()


class MailSender(Protocol):
    """`Relay`."""

    def send(self, mail: OutgoingMail) -> Awaitable[None]:
        """Returns when the mail is taken; raises `SendFailed` or `SendRefused`."""


@dataclass(frozen=True)
class Outbound:
    """What every mail of ours goes out with."""

    relay: MailSender
    signer: MailSigner
    ledger: SentLedger
    sending: Sending
    hostname: Callable[[], str]
    addresses: Callable[[str], Sequence[str]]
    """A repository's, the first of all in front; none when it is not configured any more."""

    def addressed[Message: (Reply, Acknowledgement)](self, message: Message) -> Message:
        """The same, from the address that its thread was begun to."""
        route = answered_from(message.route, self.addresses(message.repo))
        return message.model_copy(update={"route": route})

    async def send(self, mail: OutgoingMail) -> None:
        """Sign it and hand it to the relay.

        Raises:
            CannotSign, SendFailed: not now.
            SendRefused: never.
        """
        await self.relay.send(await asyncio.to_thread(self.signer.sign, mail))


class ReplyHandler:
    """Sends each reply once."""

    def __init__(self, bus: Bus, out: Outbound, report: Report) -> None:
        self._bus = bus
        self._out = out
        self._report = report

    async def __call__(self, reply: Reply) -> None:
        """Return acknowledges the reply.

        Raises:
            Retry: the relay or the object store is away, or the service is about to stop.
            Reject: the reply can never be sent.
        """
        with self._out.sending.one():
            await self._handle(reply)

    async def _handle(self, reply: Reply) -> None:
        if reply.id in self._out.ledger:
            log.info("reply_already_sent", reply=reply.id)
            return
        reply = self._out.addressed(reply)
        try:
            files, notes = await self._files(reply)
            await self._send(reply, files, notes)
        except (SendFailed, CannotSign, BusUnavailable) as error:
            if utc_now() - reply.created_at >= EMAIL_REPLIES.give_up_after:
                raise await self._failed(reply, f"given up after two days: {error}") from error
            after = self._out.ledger.next_try(reply.id)
            await self._report("warning", "reply_delayed", f"reply {reply.id} waits: {error}", reply.repo)
            raise Retry(str(error), after) from error
        except (SendRefused, BadAddress) as error:
            raise await self._failed(reply, str(error)) from error
        self._out.ledger.sent(reply.id)
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
        await self._send_with(reply, [], [*notes, f"{TOO_LARGE_NOTE}: {named}"])

    async def _fits(self, reply: Reply, files: list[AttachedFile], notes: list[str]) -> bool:
        """Send it; False when the relay finds it too large and there is something to leave out."""
        try:
            await self._send_with(reply, files, notes)
        except SendRefused as error:
            if error.too_large and files:
                return False
            raise
        return True

    async def _send_with(self, reply: Reply, files: list[AttachedFile], notes: list[str]) -> None:
        await self._out.send(build_reply(reply, self._out.hostname(), files, notes))

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


class AcknowledgementHandler:
    """Tells authors, once each, that their message was taken. Nothing depends on it: what cannot be sent for an hour,
    or is refused, is let go."""

    def __init__(self, out: Outbound) -> None:
        self._out = out

    async def __call__(self, taken: Acknowledgement) -> None:
        """Return acknowledges it on the bus.

        Raises:
            Retry: the relay is away, or the service is about to stop.
        """
        with self._out.sending.one():
            await self._handle(taken)

    async def _handle(self, taken: Acknowledgement) -> None:
        key, ledger = acknowledgement_key(taken.id), self._out.ledger
        if key in ledger or taken.id in ledger:  # said already, or the answer has said more
            log.info("acknowledgement_not_needed", task=taken.id)
            return
        taken = self._out.addressed(taken)
        try:
            await self._out.send(build_acknowledgement(taken, self._out.hostname()))
        except (SendFailed, CannotSign) as error:
            if utc_now() - taken.created_at < EMAIL_ACKNOWLEDGEMENTS.give_up_after:
                raise Retry(str(error), ledger.next_try(key)) from error
            log.warning("acknowledgement_given_up", task=taken.id, reason=str(error))
        except (SendRefused, BadAddress) as error:
            log.warning("acknowledgement_refused", task=taken.id, repo=taken.repo, reason=str(error))
        else:
            ledger.sent(key)
            log.info("acknowledgement_sent", task=taken.id, repo=taken.repo)
