"""Finding known secret values in text, at a cost that does not grow with their number (row 68 of the field notes)."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from airut_common.secrets import Secret

REPLACEMENT = "[redacted]"
SHORTEST = 6
"""Shorter values are not searched for: they would redact half of every line."""


class Redactor:
    """Replaces remembered values in text.

    Candidates are looked up by their first characters in a table, then by whole values of the few lengths that begin
    so: nothing is rebuilt when a value comes or goes, and five hundred values with one prefix cost what one costs.
    """

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()
        self._lengths: dict[str, Counter[int]] = {}

    def remember(self, secrets: Iterable[Secret]) -> None:
        """Redact these from now on. What is remembered twice must be forgotten twice."""
        for secret in secrets:
            for form in _forms(secret.reveal()):
                self._times[form] += 1
                if self._times[form] == 1:
                    self._lengths.setdefault(form[:SHORTEST], Counter())[len(form)] += 1

    def forget(self, secrets: Iterable[Secret]) -> None:
        """Stop redacting these; their values leave memory here."""
        for secret in secrets:
            for form in _forms(secret.reveal()):
                if form not in self._times:
                    continue
                self._times[form] -= 1
                if not self._times[form]:
                    del self._times[form]
                    self._drop_length(form)

    def clean(self, text: str) -> str:
        """The text without any remembered value."""
        if not self._times or len(text) < SHORTEST:
            return text
        pieces: list[str] = []
        done = position = 0
        last = len(text) - SHORTEST
        while position <= last:
            found = self._length_at(text, position)
            if not found:
                position += 1
                continue
            pieces += (text[done:position], REPLACEMENT)
            position = done = position + found
        pieces.append(text[done:])
        return "".join(pieces)

    def _length_at(self, text: str, position: int) -> int:
        """Length of the longest value that begins at a position; 0 for none."""
        lengths = self._lengths.get(text[position : position + SHORTEST], ())
        return max((n for n in lengths if text[position : position + n] in self._times), default=0)

    def _drop_length(self, form: str) -> None:
        lengths = self._lengths[form[:SHORTEST]]
        lengths[len(form)] -= 1
        if not lengths[len(form)]:
            del lengths[len(form)]
        if not lengths:
            del self._lengths[form[:SHORTEST]]


def _forms(value: str) -> set[str]:
    """A value as it may stand in a line: itself, inside JSON, inside a repr, inside a URL, and line by line."""
    return {form for form in _spellings(value) if len(form) >= SHORTEST}


def _spellings(value: str) -> Iterator[str]:
    for part in {value, *value.splitlines()}:
        yield part
        yield json.dumps(part)[1:-1]
        yield json.dumps(part, ensure_ascii=False)[1:-1]
        yield repr(part)[1:-1]
        yield quote(part, safe="")
