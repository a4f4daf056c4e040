"""Pure: leave out the quoted copy of our own reply at the end of an answer. Everything else a person wrote stays."""

import re

LEFT_OUT = "[The quoted earlier reply was left out here.]"
_LOOK_BACK_LINES = 4


def drop_quoted_reply(text: str, our_address: str) -> str:
    """Cut a tail of `>` lines that is introduced as a quotation of mail from `our_address`, and say so.

    Only this unmistakable form is cut: an introduction that names the address and ends in a colon, then nothing but
    quoted and empty lines up to the end, and something of the author's own before it.
    """
    lines = text.split("\n")
    start = len(lines)
    while start and (not lines[start - 1].strip() or lines[start - 1].lstrip().startswith(">")):
        start -= 1
    if not any(line.lstrip().startswith(">") for line in lines[start:]):
        return text
    head = _introduction_start(lines[:start], our_address)
    if head is None:
        return text
    kept = "\n".join(lines[:head]).rstrip()
    return f"{kept}\n\n{LEFT_OUT}" if kept else text


def _introduction_start(lines: list[str], our_address: str) -> int | None:
    """Where the paragraph begins that introduces the quotation; mail programs wrap it over a few lines."""
    if not lines or not lines[-1].rstrip().endswith(":"):
        return None
    first = len(lines) - 1
    while first and len(lines) - first < _LOOK_BACK_LINES and lines[first - 1].strip():
        first -= 1
    for start in range(len(lines) - 1, first - 1, -1):
        paragraph = re.sub(r"[\s<>]+", " ", " ".join(lines[start:])).lower()
        if f" {our_address.lower()} " in f" {paragraph} ".replace(":", " "):
            return start
    return None
