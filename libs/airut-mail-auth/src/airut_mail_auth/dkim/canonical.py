"""Pure: the forms in which header fields and bodies are hashed (RFC 6376 §3.4, §3.7). Linear in time and memory."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from airut_mail_auth.message import Field

_LINE_END = b"\r\n"
_PIECE_BYTES = 64 * 1024
_SPACES = re.compile(rb"[ \t]+")
_OPEN_ENDS = (b" \r", b"\r", b" ")


def body_form(body: Iterable[bytes], *, relaxed: bool) -> Iterator[bytes]:
    """A body as it is hashed, piece by piece, so that a large one need not be held at all.

    Simple (§3.4.3): without empty lines at the end. Relaxed (§3.4.4): also without white space at line ends, and runs
    of it are one space. Both end with one CRLF, but for a relaxed body of nothing, which is nothing.

    Args:
        body: Its pieces, however they are cut; CRLF line ends only.
        relaxed: Which of the two.
    """
    something = not relaxed
    waiting = 0  # line ends that count only if something follows
    for shaped in _relaxed(body) if relaxed else _whole_ends(body):
        kept = shaped.rstrip(_LINE_END)
        if kept:
            yield from _line_ends(waiting)
            yield kept
            waiting, something = 0, True
        waiting += (len(shaped) - len(kept)) // len(_LINE_END)
    if something:
        yield _LINE_END


def _whole_ends(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces that do not end within a line end."""
    held = b""
    for piece in pieces:
        part = held + piece
        held = b"\r" if part.endswith(b"\r") else b""
        yield part[: len(part) - len(held)]
    yield held


def _relaxed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What the next piece could still change, a space and half a line end, waits for it."""
    held = b""
    for piece in pieces:
        part = (held + piece).replace(b"\t", b" ")
        while b"  " in part:
            part = part.replace(b"  ", b" ")
        held = next((end for end in _OPEN_ENDS if part.endswith(end)), b"")
        yield part[: len(part) - len(held)].replace(b" \r\n", b"\r\n")
    yield held


def _line_ends(count: int) -> Iterator[bytes]:
    many, rest = divmod(count, _PIECE_BYTES)
    yield from repeat(_LINE_END * _PIECE_BYTES, many)
    yield _LINE_END * rest


def header_form(raw: bytes, *, relaxed: bool) -> bytes:
    """One header field as it is hashed, without a CRLF at its end."""
    if not relaxed:
        return raw
    name, _, value = raw.partition(b":")
    unfolded = value.replace(b"\r\n", b"")
    return name.strip(b" \t").lower() + b":" + _SPACES.sub(b" ", unfolded).strip(b" ")


def without_signature(raw: bytes) -> bytes:
    """A signature's own field with the value of `b=` deleted, surrounding white space included (§3.7)."""
    name, colon, value = raw.partition(b":")
    return name + colon + b";".join(map(_emptied, value.split(b";")))


def _emptied(spec: bytes) -> bytes:
    name, equals, _ = spec.partition(b"=")
    return name + equals if equals and name.strip(b" \t\r\n") == b"b" else spec


def select_fields(fields: Sequence[Field], names: Sequence[str], own: Field) -> Iterator[Field]:
    """The fields that `h=` names, each mention the next one upwards; one without a field stands for none (§5.4.2).

    Args:
        fields: The header, topmost first.
        names: `h=`, in lower case.
        own: The signature's field, which is never among them.
    """
    waiting: dict[str, list[Field]] = {}
    for field in fields:
        if field is not own:
            waiting.setdefault(field.name, []).append(field)
    for name in names:
        if waiting.get(name):
            yield waiting[name].pop()


def signed_header(fields: Sequence[Field], names: Sequence[str], own: Field, *, relaxed: bool) -> bytes:
    """What the signature of a header is made over (§3.7)."""
    chosen = [header_form(field.raw, relaxed=relaxed) for field in select_fields(fields, names, own)]
    return b"\r\n".join([*chosen, header_form(without_signature(own.raw), relaxed=relaxed)])
