"""Surrogates: values that look like a credential and are worth nothing."""

import hmac
import string
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

#: Known prefixes are kept, because clients look at them; the longest that fits is taken.
KNOWN_PREFIXES: Final = (
    "github_pat_", "sk-ant-", "ghp_", "gho_", "ghs_", "ghr_", "xoxb-", "xoxp-", "glpat-", "AKIA", "ASIA", "sk-",
)  # fmt: skip
#: Fewer letters and digits than this could be guessed, and would be found in headers by chance.
MIN_REPLACED: Final = 8
_ALPHABETS: Final = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_HEX_LETTERS: Final = ("abcdef", "ABCDEF")


class BadCredential(ValueError):
    """A credential that cannot be masked; the message names it and never its value."""


def known_prefix(value: str) -> str:
    """The known prefix that a value begins with, or nothing."""
    return next((prefix for prefix in KNOWN_PREFIXES if value.startswith(prefix)), "")


def check_value(name: str, value: str) -> None:
    """Refuse what could not be masked, or not be sent in a header.

    Raises:
        BadCredential: too short, or with characters that a header value must not have (RFC 9110 §5.5).
    """
    if not all("\x20" <= char <= "\x7e" for char in value):
        raise BadCredential(f"credential {name} has a line break or a character outside of printable ASCII")
    if value != value.strip():
        raise BadCredential(f"credential {name} begins or ends with a space")
    rest = value[len(known_prefix(value)) :]
    if sum(char.isalnum() for char in rest) < MIN_REPLACED:
        raise BadCredential(
            f"credential {name} is too short to mask: it needs {MIN_REPLACED} letters or digits after its prefix"
        )


def surrogate(installation_key: bytes, sandbox: str, name: str, value: str) -> str:
    """The stand-in for a value in one sandbox: same length, same class at each position, prefix kept.

    It is derived, so a restarted proxy finds the same one, and it says nothing of the value but its shape.

    Raises:
        BadCredential: the value cannot be masked.
    """
    check_value(name, value)
    prefix = known_prefix(value)
    rest = value[len(prefix) :]
    for attempt in range(256):  # equal to the value by chance once in 10^8 at worst
        made = prefix + _same_shape(rest, _stream(installation_key, sandbox, name, attempt, 4 * len(rest)))
        if made != value:
            return made
    raise BadCredential(f"credential {name} cannot be masked")


def _same_shape(text: str, stream: bytes) -> str:
    # Letters that are all hexadecimal stay so: clients that know a format look at that too.
    letters = {char for char in text if char.isalpha()}
    hexadecimal = any(letters <= set(alphabet) for alphabet in _HEX_LETTERS)
    alphabets = (string.digits, *_HEX_LETTERS) if hexadecimal else _ALPHABETS
    return "".join(
        _same_class(char, int.from_bytes(stream[4 * index : 4 * index + 4]), alphabets)
        for index, char in enumerate(text)
    )


def _same_class(char: str, number: int, alphabets: Sequence[str]) -> str:
    for alphabet in alphabets:
        if char in alphabet:
            return alphabet[number % len(alphabet)]
    return char


def _stream(key: bytes, sandbox: str, name: str, attempt: int, length: int) -> bytes:
    # Each part carries its length, so that no two (sandbox, name) pairs can run into each other.
    context = b"".join(
        len(part).to_bytes(4) + part for part in (b"airut surrogate 1", sandbox.encode(), name.encode())
    )
    blocks = (
        hmac.digest(key, context + attempt.to_bytes(4) + block.to_bytes(4), sha256)
        for block in range(-(-length // 32))
    )
    return b"".join(blocks)
