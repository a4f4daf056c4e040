"""Replacing a surrogate inside one header value, in the forms in which servers take credentials."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from .surrogates import KNOWN_PREFIXES

# `Bearer X`, `token X`, `Token token="X"`: what may stand before the value (RFC 9110 §11.4).
_BEFORE: Final = re.compile(rb"(?:[A-Za-z0-9!#$%&'*+.^_`|~-]+ +(?:[A-Za-z_-]+=)?\"?)?")
# The value is a word of its own: not a part of a longer one.
_WORD: Final = rb"[A-Za-z0-9_.~+/-]"
_PREFIXES: Final = tuple(prefix.encode() for prefix in KNOWN_PREFIXES)


class Refused(Exception):
    """The request must not go on; the text names the credential."""


@dataclass(frozen=True, slots=True)
class Swap:
    """What to look for and what to put there; both are printable ASCII."""

    surrogate: bytes
    real: bytes = field(repr=False)


def readable(value: bytes) -> bytes:
    """Where a surrogate is looked for in a header value: as it is, and on a line of its own what Basic hides."""
    decoded = _decode_basic(value)
    return value if decoded is None else value + b"\n" + decoded


def swap_value(value: bytes, swaps: Sequence[Swap], *, strict: bool) -> bytes | None:
    """The value with real credentials in it; None when a surrogate stands where it cannot be replaced.

    `strict`: the value must be nothing but the credential, so that no second one travels beside it.
    """
    decoded = _decode_basic(value)
    if decoded is not None and any(swap.surrogate in decoded for swap in swaps):
        return _swap_basic(decoded, swaps, strict=strict)
    if not strict:
        for swap in swaps:
            value = _swap_words(value, swap)
        return None if any(swap.surrogate in value for swap in swaps) else value
    if len(swaps) != 1:
        return None
    before, _, after = value.strip().partition(swaps[0].surrogate)
    if _BEFORE.fullmatch(before) is None or after != (b'"' if before.endswith(b'"') else b""):
        return None
    return before + swaps[0].real + after


def swap_cookies(value: bytes, swaps: Sequence[Swap], *, strict: bool) -> bytes | None:
    """The same for a `Cookie` value (RFC 6265 §4.2.1); `strict` drops the pairs that carry no surrogate."""
    pairs: list[bytes] = []
    for raw in value.split(b";"):
        pair = raw.strip()
        found = [swap for swap in swaps if swap.surrogate in pair]
        if not found:
            if pair and not strict:
                pairs.append(pair)
            continue
        name, _, content = pair.partition(b"=")
        if len(found) != 1 or content.strip(b'"') != found[0].surrogate:
            return None
        pairs.append(name + b"=" + content.replace(found[0].surrogate, found[0].real))
    return b"; ".join(pairs)


def _swap_words(value: bytes, swap: Swap) -> bytes:
    word = re.compile(rb"(?<!%s)%s(?!%s)" % (_WORD, re.escape(swap.surrogate), _WORD))
    return word.sub(lambda _: swap.real, value)


def _decode_basic(value: bytes) -> bytes | None:
    if b" " not in value:
        return None
    scheme, _, encoded = value.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    encoded = encoded.strip()
    try:
        return base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        return None


def _swap_basic(decoded: bytes, swaps: Sequence[Swap], *, strict: bool) -> bytes | None:
    beside = changed = decoded
    for swap in swaps:
        if swap.surrogate not in decoded:
            return None
        changed = changed.replace(swap.surrogate, swap.real)
        beside = beside.replace(swap.surrogate, b"")
    # Some servers take a token in either half: another one beside ours would be a second account.
    if strict and any(half.startswith(_PREFIXES) for half in beside.split(b":", 1)):
        return None
    return b"Basic " + base64.b64encode(changed)
