"""Pure: what is new in an answer. Quoted history and signatures are left out, and the whole text is kept beside it.

Words of the author must never be taken for history, so only unmistakable forms are cut: libraries that were looked at
also take "Thanks, …" or a line that begins with a dash for the start of a signature, and undo indentation.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from airut_gateway_email.content.labels import DATE, FROM, ON_THE_WAY, SUBJECT, WROTE

WHOLE_MAIL = "whole-mail.txt"
LEFT_OUT = f"[Quoted mail or a signature was left out here; the file {WHOLE_MAIL} has all of it.]"
_LOOK_BACK_LINES = 4
_HEADER_LINES = 8
_SIGNATURE_LINES = 12
_MARKS = " \t>*_\u00a0\u200e"
_SEPARATOR = re.compile(r"(?:_{10,}|-{2,}[^\n-]{0,60}-{2,})")


@dataclass(frozen=True)
class NewText:
    """The author's own words."""

    own: str
    cut: bool
    """Something was left out."""

    @property
    def text(self) -> str:
        """With our remark, if it was."""
        return f"{self.own}\n\n{LEFT_OUT}" if self.cut else self.own


def new_text(text: str, ours: Sequence[str], *, continues: bool) -> NewText:
    """What the author of a mail added to what was quoted.

    Args:
        text: All of the mail's visible text.
        ours: The repository's addresses. History is cut if it is introduced as mail from one of them.
        continues: The mail belongs to a conversation of ours. Then an introduction that names no address at all,
            as some programs write it, is taken for one of ours too.
    """
    lines = text.split("\n")
    end = _signature_start(
        lines, _history_start(lines, _Ours(tuple(address.lower() for address in ours), continues))
    )
    own = "\n".join(lines[:end]).strip()
    if not own or not any(map(str.strip, lines[end:])):
        return NewText(text, cut=False)
    return NewText(own, cut=True)


@dataclass(frozen=True)
class _Ours:
    addresses: tuple[str, ...]
    continues: bool

    def named(self, words: str) -> bool:
        """Whether an address of ours is among them."""
        spaced = re.sub(r"[\s<>()\[\]*_:;,\"'\u00a0]+", " ", words).lower()
        return any(f" {address} " in f" {spaced} " for address in self.addresses)

    def sent(self, line: str) -> bool:
        """Whether a `From:` line is ours."""
        return self.named(line) or (self.continues and "@" not in line)

    def wrote(self, introduction: str) -> bool:
        """Whether "On Monday, … wrote:" tells of us."""
        words = introduction.lower()
        told = any(map(str.isdigit, words)) and any(word in words for word in WROTE)
        return self.named(words) or (self.continues and "@" not in words and told)


def _history_start(lines: list[str], ours: _Ours) -> int:
    for number, line in enumerate(lines):
        if (
            _label(line) in FROM
            and ours.sent(line)
            and _is_header_block(lines[number : number + _HEADER_LINES])
        ):
            start = number
            while start and not lines[start - 1].strip(_MARKS):
                start -= 1
            return start - 1 if start and _SEPARATOR.fullmatch(lines[start - 1].strip()) else start
    start = len(lines)
    while start and (not lines[start - 1].strip() or lines[start - 1].lstrip().startswith(">")):
        start -= 1
    if not any(line.lstrip().startswith(">") for line in lines[start:]):
        return len(lines)
    introduction = _introduction_start(lines[:start], ours)
    return len(lines) if introduction is None else introduction


def _is_header_block(lines: list[str]) -> bool:
    """What Outlook and others put above a quoted mail: its sender, date and subject, each on a line."""
    labels = {_label(line) for line in lines}
    return bool(labels & DATE) and bool(labels & SUBJECT)


def _label(line: str) -> str:
    head, colon, _ = line[:60].replace("\uff1a", ":").partition(":")
    return head.strip(_MARKS).lower() if colon else ""


def _introduction_start(lines: list[str], ours: _Ours) -> int | None:
    """Where the paragraph begins that introduces the quotation; mail programs wrap it over a few lines."""
    if not lines or not lines[-1].rstrip(_MARKS).endswith((":", "\uff1a")):
        return None
    first = len(lines) - 1
    while first and len(lines) - first < _LOOK_BACK_LINES and lines[first - 1].strip():
        first -= 1
    for start in range(len(lines) - 1, first - 1, -1):
        if ours.wrote(" ".join(lines[start:])):
            return _with_its_date(lines, start, first)
    return None


def _with_its_date(lines: list[str], start: int, first: int) -> int:
    """An introduction that was wrapped has its date on a line above; a sentence that ends there is the author's."""
    for number in range(start, first - 1, -1):
        if number < start and lines[number].rstrip().endswith((".", "!", "?")):
            break
        if any(map(str.isdigit, lines[number])):
            return number
    return start


def _signature_start(lines: list[str], end: int) -> int:
    """The dashes of RFC 3676 §4.3 with a few lines below them, or the line that a telephone adds."""
    while end and not lines[end - 1].strip():
        end -= 1
    for number in range(end - 1, max(end - _SIGNATURE_LINES, 0) - 1, -1):
        if lines[number] in ("--", "-- "):
            return number
    if end and len(lines[end - 1]) < 80 and ON_THE_WAY.fullmatch(lines[end - 1].strip(_MARKS)):
        return end - 1
    return end
