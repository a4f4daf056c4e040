"""Pure: what every mail of ours begins with. It goes to one proven author, into his thread, and says that no person
wrote it."""

import re
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address as MailboxHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime

from airut_common.contracts.v1 import EmailRoute
from airut_gateway_email.content.visible import clean_text
from airut_gateway_email.threads import message_ids, subject_tag
from airut_mail_auth.addresses import parse_address

MAX_SUBJECT = 200
_RE = re.compile(r"^(?:re|aw|sv|antw)\s*:\s*", re.IGNORECASE)
_ID_HEADERS = frozenset({"in-reply-to", "references", "message-id"})


class _ReplyPolicy(EmailPolicy):
    """`email.policy.SMTP`, but message ids are folded between ids: the standard one encodes long ids as words,
    and then no mail program finds the thread."""

    def fold_binary(self, name: str, value: str) -> bytes:
        if name.lower() in _ID_HEADERS:
            return f"{name}: {'\r\n '.join(str(value).split())}\r\n".encode("ascii")
        return super().fold_binary(name, value)


_POLICY = _ReplyPolicy(linesep=SMTP.linesep, raise_on_defect=False)
_INTERNATIONAL = _POLICY.clone(utf8=True)


@dataclass(frozen=True)
class OutgoingMail:
    """Ready for the relay."""

    sender: str
    recipient: str
    message_id: str
    data: bytes

    @classmethod
    def of(cls, message: EmailMessage, route: EmailRoute) -> "OutgoingMail":
        """A message that was begun with this route."""
        recipient, sender = parse_address(route.recipient), parse_address(route.from_address)
        return cls(str(sender), str(recipient), str(message["Message-ID"]), message.as_bytes())


def begin_message(repo: str, route: EmailRoute, message_id: str, at: datetime) -> EmailMessage:
    """A message with its headers and without content.

    Raises:
        BadAddress: the route names something that is no address.
    """
    recipient, sender = parse_address(route.recipient), parse_address(route.from_address)
    ascii_only = recipient.local.isascii() and sender.local.isascii()
    message = EmailMessage(policy=_POLICY if ascii_only else _INTERNATIONAL)
    message["From"] = MailboxHeader(f"Airut {repo}", addr_spec=str(sender))
    message["To"] = str(recipient)
    message["Subject"] = reply_subject(route.subject)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = message_id
    parent = message_ids(route.in_reply_to)[:1]
    if parent:
        message["In-Reply-To"] = parent[0]
    references = message_ids(" ".join(route.references)) or parent
    if references:
        message["References"] = " ".join(references)
    message["Auto-Submitted"] = "auto-replied"  # RFC 3834 §3.1.7
    message["X-Auto-Response-Suppress"] = "All"
    return message


def reply_subject(subject: str) -> str:
    """`Re:` once, on one line, without control characters."""
    line = " ".join(clean_text(subject).split())
    while stripped := _RE.match(line):
        line = line[stripped.end() :]
    return f"Re: {line[:MAX_SUBJECT] or 'your mail'}"


def web_link(link: str | None) -> str | None:
    """A link that leads to the web; it becomes an `href`, so nothing else may."""
    return link if link is not None and link.startswith(("https://", "http://")) else None


def how_to_continue(conversation: str) -> str:
    """For the foot of a mail."""
    return f"Answer this mail to continue, or put {subject_tag(conversation)} in the subject of a new one."
