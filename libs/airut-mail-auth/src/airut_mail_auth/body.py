"""Pure: the forms in which bodies are hashed (RFC 6376 §3.4). Linear in time and memory."""

from collections.abc import Iterable, Iterator
from itertools import repeat

_LINE_END = b"\r\n"
_PIECE_BYTES = 64 * 1024
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
