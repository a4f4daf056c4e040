"""One answer on its way into the sandbox: its headers, and its body as a stream."""

import itertools
import re
from collections.abc import Sequence
from typing import Final

from .codings import DECODERS, Decoder, Undecodable
from .needles import Needle, Replacer

Header = tuple[bytes, bytes]

_MAX_CODINGS: Final = 2
_NO_CODING: Final = frozenset({"", "identity"})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class AnswerScrubber:
    """Replaces real credentials by their surrogates. Call it with each piece of the body and with nothing at its end,
    as mitmproxy calls a stream; it returns the pieces to send on, none of which is empty."""

    def __init__(self, needles: Sequence[Needle], coding: str) -> None:
        """Args:
        coding: the value of `Content-Encoding`; empty when there is none.

        Raises:
            Undecodable: a coding that cannot be undone, so nobody could say what is in the body.
        """
        names = [name for part in coding.split(",") if (name := part.strip().lower()) not in _NO_CODING]
        if len(names) > _MAX_CODINGS or not all(name in DECODERS for name in names):
            raise Undecodable("the body has an unknown coding")
        # RFC 9110 §8.4: they are listed in the order in which they were applied.
        self._decoders: list[Decoder] = [DECODERS[name]() for name in reversed(names)]
        self._replacer = Replacer(needles)

    @property
    def decodes(self) -> bool:
        """Whether the body comes out without its coding, and with another length."""
        return bool(self._decoders)

    @property
    def found(self) -> bool:
        """Whether something was replaced so far."""
        return self._replacer.found

    def headers(self, headers: Sequence[Header]) -> list[Header]:
        """The same with surrogates in the values."""
        return [(name, self._replacer.replace(value)) for name, value in headers]

    def __call__(self, data: bytes) -> list[bytes]:
        """The pieces that follow.

        Raises:
            Undecodable: the answer must end here.
        """
        parts = [self._replacer.feed(self._decode(data))] if data else [self._finish()]
        return [part for part in parts if part]

    def _decode(self, data: bytes) -> bytes:
        for decoder in self._decoders:
            data = decoder.feed(data)
        return data

    def _finish(self) -> bytes:
        for decoder in self._decoders:
            decoder.finish()
        return self._replacer.finish()


def acceptable_codings(headers: Sequence[Header]) -> list[Header]:
    """A request's headers whose `Accept-Encoding` asks only for what can be undone; without one, for nothing."""
    kept: list[str] = []
    for name, value in headers:
        if name.lower() == b"accept-encoding":
            items = (item.strip() for item in value.decode("latin-1").lower().split(","))
            kept += [item for item in items if (token := _TOKEN.match(item)) and token[0] in DECODERS]
    others = [(name, value) for name, value in headers if name.lower() != b"accept-encoding"]
    asked = ", ".join(itertools.islice(dict.fromkeys(kept), len(DECODERS))) or "identity"
    return [*others, (b"accept-encoding", asked.encode("ascii", "replace"))]
