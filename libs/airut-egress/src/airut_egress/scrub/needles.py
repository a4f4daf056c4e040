"""The forms in which an answer can quote a credential, and replacing them in a stream."""

import base64
import html
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from airut_egress.swap import Swap

_ESCAPE: Final = re.compile("%[0-9A-F]{2}")
_URL_SAFE: Final = str.maketrans("+/", "-_")


@dataclass(frozen=True, slots=True)
class Needle:
    """One form of a real value, and the same form of its surrogate: both have the same length."""

    real: bytes = field(repr=False)
    surrogate: bytes


def needles_of(swaps: Iterable[Swap]) -> tuple[Needle, ...]:
    """Everything to look for. Surrogates keep lengths and punctuation, so every form keeps its length as well."""
    found: dict[bytes, bytes] = {}
    for swap in swaps:
        for real, surrogate in zip(_forms(swap.real), _forms(swap.surrogate), strict=True):
            if len(real) == len(surrogate) and real != surrogate:
                found.setdefault(real, surrogate)
    # The longest first: the value itself before what is only a part of another one's form.
    return tuple(Needle(real, found[real]) for real in sorted(found, key=len, reverse=True))


class Replacer:
    """Replaces needles in a stream, also across the borders of its pieces. What could be the beginning of a needle
    is held until more is known; everything else passes at once."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self._needles = needles
        self._held = b""
        self.found = False

    def feed(self, data: bytes) -> bytes:
        """The next part of the output; it may be empty."""
        text = self.replace(self._held + data)
        keep = len(text) - self._beginning(text)
        self._held = text[keep:]
        return text[:keep]

    def finish(self) -> bytes:
        """What was held."""
        text, self._held = self._held, b""
        return text

    def replace(self, text: bytes) -> bytes:
        """Replace in something that is complete, such as a header's value."""
        for needle in self._needles:
            if needle.real in text:
                text = text.replace(needle.real, needle.surrogate)
                self.found = True
        return text

    def _beginning(self, text: bytes) -> int:
        """How many of the last bytes could be the beginning of a needle."""
        longest = 0
        for needle in self._needles:
            tail = text[-(len(needle.real) - 1) :]
            at = tail.find(needle.real[:1])
            while at >= 0 and len(tail) - at > longest:
                if needle.real.startswith(tail[at:]):
                    longest = len(tail) - at
                    break
                at = tail.find(needle.real[:1], at + 1)
        return longest


def _forms(value: bytes) -> list[bytes]:
    text = value.decode("ascii")
    quoted = urllib.parse.quote(text, safe="")
    in_json = text.replace("\\", "\\\\").replace('"', '\\"')
    written = [
        text,
        quoted,
        _ESCAPE.sub(lambda match: match[0].lower(), quoted),
        urllib.parse.quote_plus(text),
        html.escape(text),
        in_json,
        in_json.replace("/", "\\/"),
        value.hex(),
        value.hex().upper(),
    ]
    for offset in range(3):
        encoded = _base64_inside(value, offset)
        written += [encoded, encoded.translate(_URL_SAFE)]
    return [form.encode("ascii") for form in written]


def _base64_inside(value: bytes, offset: int) -> str:
    """What stays the same in the Base64 of anything that has the value at a position of this offset modulo 3: the
    characters that are made of the value's bits alone (RFC 4648 §4)."""
    encoded = base64.b64encode(bytes(offset) + value + bytes(-(offset + len(value)) % 3)).decode("ascii")
    return encoded[-(-offset * 8 // 6) : (offset + len(value)) * 8 // 6]
