"""One mail on its way in: form, author, permission, content, object store, bus. Whatever is wrong is a `MailError`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import structlog

from airut_common.bus import Bus, BusUnavailable
from airut_common.config.addresses import SenderRule, named_group, sender_rules
from airut_common.config.models import EmailConfig, RepoConfig
from airut_common.contracts.v1 import BlobRef, TaskRequest, utc_now
from airut_common.contracts.v1.subjects import task_requested
from airut_gateway_email.age import check_sent
from airut_gateway_email.content.mail import Attachment
from airut_gateway_email.errors import MailLater, MailRefused
from airut_gateway_email.large.reader import LargeMails
from airut_gateway_email.loops import automatic_reason
from airut_gateway_email.rates import PER_CONVERSATION, PER_SENDER, RateCap
from airut_gateway_email.rawmail import RawMail, parse_arrived
from airut_gateway_email.reading import Reading, StoredFile, take_apart
from airut_gateway_email.recipients import Recipient, is_ours, listed_addresses
from airut_gateway_email.requests import Arrival, Understood, build_request
from airut_gateway_email.sender_auth import Envelope, Mailbox, Proof, Resolver, prove
from airut_gateway_email.threads import find_conversation
from airut_mail_auth.addresses import Address, BadAddress, parse_from
from airut_mail_auth.allowlist import allows

AT_ONCE = 4
"""Small mails whose parts are decoded at the same moment."""
REMEMBERED = 10_000
"""So many of the last requests are known again without asking the bus: copies cost no author his rate, and no room."""

log = structlog.get_logger()


class Intake:
    """Turns mails into task requests. Reads the configuration anew for each mail."""

    def __init__(
        self,
        bus: Bus,
        *,
        email: Callable[[], EmailConfig],
        repos: Callable[[], Mapping[str, RepoConfig]],
        groups: Callable[[], Mapping[str, Sequence[str]]],
        resolver: Callable[[], Resolver],
        longest_age: Callable[[], timedelta],
        spool: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._email = email
        self._repos = repos
        self._groups = groups
        self._resolver = resolver
        self._longest_age = longest_age
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._large = LargeMails(spool)
        self._stored: dict[str, None] = {}
        self._per_sender = RateCap(PER_SENDER, clock)
        self._per_conversation = RateCap(PER_CONVERSATION, clock)

    async def accept(self, arrival: Arrival) -> str:
        """Store a mail as a task request; returns the request's id once JetStream has it.

        Raises:
            MailRefused: the mail will never be one.
            MailLater: it cannot be judged or stored now.
        """
        mail = await parse_arrived(arrival.data)
        author = _author(mail)
        config = self._repo(arrival.recipient)
        self._refuse_automatic(mail, author, arrival.envelope)
        if isinstance(arrival.envelope, Mailbox) and self._email().authentication.mode == "native":
            # Mails of a mailbox are taken in one after the other: no stranger's DNS keeps the next one waiting. There
            # is nobody here who could learn from a refusal who is on the list.
            self._allowed_by(author, config, arrival.recipient)
        proof, record = await prove(
            mail,
            arrival.envelope,
            self._resolver(),
            self._email().authentication,
            now=arrival.received_at,
        )
        check_sent(mail, self._longest_age(), arrival.received_at)
        rule = self._allowed_by(author, config, arrival.recipient)
        _require_addressed(mail, config, proof)
        conversation = find_conversation(mail, self._email().hostname)
        reading = self._reading(arrival, mail, config.address, continues=conversation is not None)
        async with reading as content:
            found = Understood(mail, author, proof, record, rule, conversation, content)
            request = build_request(arrival, found)
            if request.id in self._stored:
                return request.id  # whoever has a copy may send it as often as he likes
            self._count(author, conversation)
            await self._publish(await self._with_files(request, content.files))
        self._remember(request.id)
        log.info(
            "mail_accepted", request=request.id, repo=request.repo, sender=request.sender, rule=str(rule)
        )
        return request.id

    @asynccontextmanager
    async def _reading(
        self, arrival: Arrival, mail: RawMail, ours: Sequence[str], *, continues: bool
    ) -> AsyncIterator[Reading[Attachment | StoredFile]]:
        """Only of mails that are proven: a stranger has no parser at work, and decides how long his DNS takes."""
        if not isinstance(arrival.data, bytes):
            async with self._large.reading(arrival.data, ours, continues=continues) as stored:
                yield stored
            return
        async with self._at_once:
            reading = await asyncio.to_thread(take_apart, mail, ours, continues=continues)
        yield reading

    def _repo(self, recipient: Recipient) -> RepoConfig:
        config = self._repos().get(recipient.repo)
        if config is None:
            raise MailRefused(f"there is no such recipient as {recipient.address} any more", status="5.1.1")
        return config

    def _refuse_automatic(self, mail: RawMail, author: Address, envelope: Envelope | Mailbox) -> None:
        reason = automatic_reason(
            mail,
            mail_from=None if isinstance(envelope, Mailbox) else envelope.mail_from,
            own_author=is_ours(author, self._repos().values()),
            hostname=self._email().hostname,
        )
        if reason is not None:
            raise MailRefused(f"automatic mail is not accepted: {reason}")

    def _allowed_by(self, author: Address, config: RepoConfig, recipient: Recipient) -> SenderRule:
        groups = self._groups()
        rules = sender_rules(config.senders, groups)
        rule = next((rule for rule in rules if allows(rule.pattern, author)), None)
        if rule is not None:
            return rule
        named = {named_group(entry) for entry in config.senders} - {None}
        if named - groups.keys():
            # A repository and its groups are stored one after the other: for a moment they may not fit together.
            raise MailLater(f"the sender list of {recipient.address} is being changed", status="4.3.0")
        raise MailRefused(f"{author} is not on the sender list of {recipient.address}")

    def _count(self, author: Address, conversation: str | None) -> None:
        if not self._per_sender.take(str(author)):
            raise MailLater(f"{author} has sent too many mails this hour", code=450, status="4.7.1")
        if conversation is not None and not self._per_conversation.take(conversation):
            raise MailLater("this conversation has too many mails this hour", code=450, status="4.7.1")

    def _remember(self, request: str) -> None:
        self._stored[request] = None
        if len(self._stored) > REMEMBERED:
            del self._stored[next(iter(self._stored))]

    async def _with_files(
        self, request: TaskRequest, files: Sequence[Attachment | StoredFile]
    ) -> TaskRequest:
        try:
            blobs = [await self._put(file) for file in files]
        except BusUnavailable as error:
            raise _not_stored(error) from error
        return request.model_copy(update={"attachments": tuple(blobs), "accepted_at": utc_now()})

    async def _put(self, file: Attachment | StoredFile) -> BlobRef:
        if isinstance(file, Attachment):
            return await self._bus.put_blob(file.data, name=file.name, media_type=file.media_type)
        with file.open() as content:
            return await self._bus.put_file(content, name=file.name, media_type=file.media_type)

    async def _publish(self, request: TaskRequest) -> None:
        try:
            await self._bus.publish(task_requested(request.repo), request, msg_id=request.id)
        except BusUnavailable as error:
            raise _not_stored(error) from error


def _author(mail: RawMail) -> Address:
    try:
        return parse_from(mail.first("from") or "")
    except BadAddress as error:
        raise MailRefused(f"the From header must name exactly one author: {error}", status="5.6.0") from None


def _require_addressed(mail: RawMail, config: RepoConfig, proof: Proof) -> None:
    """A genuinely signed mail to somebody else, replayed to us, is no instruction.

    Some senders, Microsoft 365 among them, do not sign To and Cc. Then they say something only if the mail came from a
    server of the author's domain: anybody else could have written them.
    """
    bare = False
    for name in ("to", "cc"):
        for address in listed_addresses(mail.first(name) or ""):
            if not is_ours(address, [config]):
                continue
            if proof.direct or proof.signed is None or name in proof.signed:
                return
            bare = True
    if bare:
        raise MailRefused(
            f"the signature of {proof.domain} does not cover To and Cc, and the mail does not come from a server of "
            "that domain, so that it may have been meant for somebody else"
        )
    raise MailRefused(f"the mail must name {' or '.join(config.address)} in To or Cc")


def _not_stored(error: BusUnavailable) -> MailLater:
    log.warning("mail_not_stored", reason=str(error))
    return MailLater("the mail cannot be stored at the moment; try again later", status="4.3.0")
