"""The forms in which an answer can quote a credential, and replacing them in a stream."""

import base64
import html
import re
import string
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from airut_egress.swap import Swap

_ESCAPE: Final = re.compile("%[0-9A-F]{2}")
_URL_SAFE: Final = str.maketrans("+/", "-_")
_DIGITS: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
#: The value's bits in the digit before it, by its offset modulo 3, and in the one after it, by that of its end.
_MASKS_BEFORE: Final = (0, 0b001111, 0b000011)
_MASKS_AFTER: Final = (0, 0b110000, 0b111100)


@dataclass(frozen=True, slots=True)
class Needle:
    """One form of a real value, and the same form of its surrogate: both have the same length.

    In Base64 the characters around it can have bits of the value, too: `before` and `after` say what becomes of those.
    """

    real: bytes = field(repr=False)
    surrogate: bytes
    before: Mapping[int, int] = field(default_factory=dict, repr=False)
    after: Mapping[int, int] = field(default_factory=dict, repr=False)


def needles_of(swaps: Iterable[Swap]) -> tuple[Needle, ...]:
    """Everything to look for. Surrogates keep lengths and punctuation, so every form keeps its length as well."""
    found: dict[bytes, Needle] = {}
    for swap in swaps:
        for needle in _needles(swap):
            if len(needle.real) == len(needle.surrogate) and needle.real != needle.surrogate:
                found.setdefault(needle.real, needle)
    # The longest first: the value itself before what is only a part of another one's form.
    return tuple(sorted(found.values(), key=lambda needle: len(needle.real), reverse=True))


class Replacer:
    """Replaces needles in a stream, also across the borders of its pieces. What could be the beginning of a needle
    is held until more is known; everything else passes at once."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self._needles = needles
        self._held = b""
        self.found = False

    def feed(self, data: bytes) -> bytes:
        """The next part of the output; it may be empty."""
        text = self._replace(self._held + data, complete=False)
        keep = len(text) - self._beginning(text)
        self._held = text[keep:]
        return text[:keep]

    def finish(self) -> bytes:
        """What was held."""
        text, self._held = self._held, b""
        return self.replace(text)

    def replace(self, text: bytes) -> bytes:
        """Replace in something that is complete, such as a header's value."""
        return self._replace(text, complete=True)

    def _replace(self, text: bytes, *, complete: bool) -> bytes:
        for needle in self._needles:
            if needle.real in text:
                end = len(text) - (1 if needle.after and not complete else 0)
                text = self._put(text, needle, end)
        return text

    def _put(self, text: bytes, needle: Needle, end: int) -> bytes:
        """Replace each that ends before or at `end`."""
        changed, size = bytearray(text), len(needle.real)
        at = text.find(needle.real, 0, end)
        while at >= 0:
            self.found = True
            changed[at : at + size] = needle.surrogate
            for place, becomes in ((at - 1, needle.before), (at + size, needle.after)):
                if 0 <= place < len(changed):
                    changed[place] = becomes.get(changed[place], changed[place])
            at = text.find(needle.real, at + size, end)
        return bytes(changed)

    def _beginning(self, text: bytes) -> int:
        """How many of the last bytes could be the beginning of a needle."""
        return max((_unfinished(text, needle) for needle in self._needles), default=0)


def _unfinished(text: bytes, needle: Needle) -> int:
    """How many of the last bytes could be the beginning of this one, with the character before it."""
    # With all of it there, the character behind it may still be missing.
    start = max(len(text) - len(needle.real) + (0 if needle.after else 1), 0)
    at = text.find(needle.real[:1], start)
    while at >= 0 and not needle.real.startswith(text[at:]):
        at = text.find(needle.real[:1], at + 1)
    if at < 0:
        at = len(text)
    if at > 0 and text[at - 1] in needle.before:
        at -= 1
    return len(text) - at


def _needles(swap: Swap) -> Iterator[Needle]:
    for real, surrogate in zip(_forms(swap.real), _forms(swap.surrogate), strict=True):
        yield Needle(real, surrogate)
    for offset in range(3):
        real_inside, *real_bits = _in_base64(swap.real, offset)
        surrogate_inside, *surrogate_bits = _in_base64(swap.surrogate, offset)
        masks = _MASKS_BEFORE[offset], _MASKS_AFTER[(offset + len(swap.real)) % 3]
        before, after = map(_border, masks, real_bits, surrogate_bits)
        for alphabet in ({}, _URL_SAFE):
            real, surrogate = (text.translate(alphabet).encode() for text in (real_inside, surrogate_inside))
            yield Needle(real, surrogate, before, after)


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
    return [form.encode("ascii") for form in written]


def _in_base64(value: bytes, offset: int) -> tuple[str, int, int]:
    """What stays the same in the Base64 of anything that has the value at a position of this offset modulo 3: the
    digits that are made of the value's bits alone, and its bits in the digit before and in the one after these
    (RFC 4648 §4)."""
    encoded = base64.b64encode(bytes(offset) + value + bytes(-(offset + len(value)) % 3)).decode("ascii")
    start, end = -(-offset * 8 // 6), (offset + len(value)) * 8 // 6
    # The bits of others are 0 here.
    before, after = encoded[:start][-1:], encoded[end:][:1]
    return encoded[start:end], _DIGITS.find(before), _DIGITS.find(after)


def _border(mask: int, real: int, surrogate: int) -> Mapping[int, int]:
    """What becomes of a digit of which the value has the bits of `mask`, and others the rest."""
    if real & mask == surrogate & mask:
        return {}
    table: dict[int, int] = {}
    for digits in (_DIGITS, _DIGITS.translate(_URL_SAFE)):
        for number, digit in enumerate(digits):
            if number & mask == real:
                table[ord(digit)] = ord(digits[number ^ real ^ surrogate])
    return table
