"""Pure: a reply from the bus -> a mail. What an agent wrote is hostile: to headers, terminals and mail programs."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage, MIMEPart

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from airut_common.contracts.v1 import Outcome, Reply, Usage
from airut_gateway_email.content.visible import clean_text
from airut_gateway_email.markdown import markdown_to_html
from airut_gateway_email.outgoing import OutgoingMail, begin_message, how_to_continue, web_link
from airut_gateway_email.threads import issue_message_id

MAX_NAME = 200
MAX_QUOTED_LINES = 30
MAX_QUOTED_WIDTH = 500
_TYPE = re.compile(r"([a-z0-9!#$&^_.+-]{1,60})/([a-z0-9!#$&^_.+-]{1,60})")
_HEADLINES: dict[Outcome, str] = {
    "done": "",
    "failed": "The task failed.",
    "stopped": "The task was stopped.",
    "timed_out": "The task took too long and was ended.",
    "interrupted": "The task was interrupted and could not be resumed.",
    "refused": "The task was not started.",
}

_templates = Environment(
    loader=PackageLoader("airut_gateway_email"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class AttachedFile:
    """A file to send along."""

    name: str
    media_type: str
    data: bytes


def build_reply(
    reply: Reply, hostname: str, files: Sequence[AttachedFile], notes: Sequence[str]
) -> OutgoingMail:
    """The mail that answers a task.

    Args:
        reply: The reply.
        hostname: Domain of our Message-IDs.
        files: What of the reply's attachments could be read.
        notes: Shown after the reply's own notes.

    Raises:
        BadAddress: the route names something that is no address.
    """
    message_id = issue_message_id(reply.conversation, reply.id, hostname)
    message = begin_message(reply.repo, reply.route, message_id, reply.created_at)
    text, html = _render(reply, [*reply.notes, *notes])
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    for file in files:
        _attach(message, file)
    _set_boundaries(message, [reply.encode(), html.encode(), *(file.data for file in files)])
    return OutgoingMail.of(message, reply.route)


def _set_boundaries(message: EmailMessage, content: Sequence[bytes]) -> None:
    """The same reply is the same mail to the byte, whenever it is built: a copy is known as one by any means.

    Boundaries are made of all that stands between them, so that nobody can write one into a text or file.
    """
    digest = hashlib.sha256(b"".join(hashlib.sha256(piece).digest() for piece in content)).hexdigest()
    for number, part in enumerate(part for part in message.walk() if part.is_multipart()):
        part.set_boundary(f"=_{digest[:40]}_{number}")


def _attach(message: EmailMessage, file: AttachedFile) -> None:
    match = _TYPE.fullmatch(file.media_type.lower())
    kind, subtype = (match[1], match[2]) if match else ("application", "octet-stream")
    if kind in ("multipart", "message", "text"):
        # Sent as they are: a text's line ends and character set are the agent's, not ours to convert.
        kind, subtype = ("application", "octet-stream") if kind != "text" else (kind, subtype)
    message.add_attachment(file.data, maintype=kind, subtype=subtype, filename=shown_name(file.name))
    part = _last_part(message)
    if kind == "text":
        part.set_param("charset", "utf-8")


def shown_name(name: str) -> str:
    """A file's name on one line, without folders and control characters."""
    return " ".join(clean_text(name).split()).replace("/", "_").replace("\\", "_")[:MAX_NAME] or "file"


def _last_part(message: EmailMessage) -> MIMEPart:
    *_, last = message.iter_attachments()
    return last


def _render(reply: Reply, notes: Sequence[str]) -> tuple[str, str]:
    text = clean_text(reply.text) or "(The agent said nothing.)"
    values = {
        "headline": _HEADLINES[reply.outcome],
        "text": text,
        "notes": [" ".join(clean_text(note).split()) for note in notes],
        "summary": f"Airut · {reply.repo}{_usage(reply.usage)}",
        "link": web_link(reply.link),
        "asker": reply.route.recipient,
        "question": quotation(reply.route.question),
        "hint": how_to_continue(reply.conversation),
    }
    plain = _templates.get_template("reply.txt").render(values)
    return plain, _templates.get_template("reply.html").render(values, html=Markup(markdown_to_html(text)))  # noqa: S704  sanitised by nh3


def quotation(question: str) -> list[str]:
    """Lines of what was asked, cut where a reader has long recognized it."""
    lines = clean_text(question).splitlines()
    shown = [
        line[:MAX_QUOTED_WIDTH] + "…" * (len(line) > MAX_QUOTED_WIDTH) for line in lines[:MAX_QUOTED_LINES]
    ]
    return shown + ["…"] * (len(lines) > MAX_QUOTED_LINES)


def _usage(usage: Usage | None) -> str:
    """`· 1 min 5 s · 7 turns · 18.2k tokens in, 950 out · $0.12`, as far as known."""
    if usage is None:
        return ""
    parts = [duration(usage.duration_seconds)]
    if usage.turns is not None:
        parts.append(f"{usage.turns} turn{'' if usage.turns == 1 else 's'}")
    if usage.input_tokens is not None and usage.output_tokens is not None:
        parts.append(f"{count(usage.input_tokens)} tokens in, {count(usage.output_tokens)} out")
    if usage.cost_usd is not None:
        parts.append(f"${usage.cost_usd:.2f}")
    return "".join(f" · {part}" for part in parts)


def count(number: int) -> str:
    """`950`, `18.2k`, `1.3M`."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return str(number)


def duration(seconds: float) -> str:
    """`8 s`, `1 min 5 s`, `2 h 3 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
