"""File names that strangers chose, made fit to show and to store."""

import os
import unicodedata

_MAX_STORED_BYTES = 180
_MAX_SHOWN_CHARACTERS = 200
_REPLACEMENT = "_"
_NOT_IN_FILE_NAMES = frozenset('/\\:*?"<>|')
#: Controls, formats (bidi overrides, zero-width), surrogates, private use, unassigned, line and paragraph
#: separators: nothing that a terminal, a mail program or a page could obey.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shown(raw: str) -> str:
    """`raw` for people to read: one line, nothing invisible, folders kept, length bounded."""
    text = _clean(raw)
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else text[: _MAX_SHOWN_CHARACTERS - 1] + "…"


def stored(raw: str) -> str:
    """`raw` as one portable file name: no separator, no leading dot or dash, not empty, at most 180 bytes."""
    text = "".join(
        _REPLACEMENT if character in _NOT_IN_FILE_NAMES else character for character in _clean(raw)
    )
    text = text.lstrip(".- ").rstrip(". ")
    return _shorten(text) or "file"


class UniqueNames:
    """Hands out names that differ even where case and Unicode form do not count."""

    def __init__(self, *reserved: str) -> None:
        self._taken = {_key(name) for name in reserved}

    def take(self, raw: str) -> str:
        """`stored(raw)`, with a number before the suffix when something like it was taken already."""
        name = stored(raw)
        candidate, number = name, 1
        while _key(candidate) in self._taken:
            number += 1
            stem, suffix = _split(name)
            candidate = f"{stem} ({number}){suffix}"
        self._taken.add(_key(candidate))
        return candidate


def _clean(raw: str) -> str:
    text = os.fsencode(raw).decode("utf-8", "replace") if _has_surrogates(raw) else raw
    text = unicodedata.normalize("NFC", text)
    return "".join(
        _REPLACEMENT if unicodedata.category(character) in _UNSAFE_CATEGORIES else character
        for character in text
    )


def _has_surrogates(text: str) -> bool:
    """Lone surrogates: bytes of a file name that are not UTF-8, as Python decodes them."""
    return any("\udc80" <= character <= "\udcff" for character in text) and not any(
        "\ud800" <= character < "\udc80" or "\udcff" < character <= "\udfff" for character in text
    )


def _split(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    # A long "suffix" is no suffix, and the stem must keep something.
    return (stem, dot + suffix) if stem and len(suffix.encode()) <= 16 else (name, "")


def _shorten(name: str) -> str:
    if len(name.encode()) <= _MAX_STORED_BYTES:
        return name
    stem, suffix = _split(name)
    room = _MAX_STORED_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + suffix


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
