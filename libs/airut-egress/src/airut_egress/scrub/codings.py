"""Content codings undone piece by piece, with a bound on what one piece may become (RFC 9110 §8.4.1)."""

import zlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import brotli
import zstandard

MAX_DECODED_BYTES: Final = 16 * 1024 * 1024
"""Of one piece as it was received: a bomb ends here and not in the memory of all sandboxes (field notes 35)."""
#: RFC 9659: no receiver has to have more.
_ZSTD_WINDOW: Final = 8 * 1024 * 1024
#: A block of zstd is 4 bytes at least and becomes 128 KiB at most: so much of input cannot exceed the bound.
_ZSTD_SLICE: Final = 256
_BROTLI_STEP: Final = 1024 * 1024


class Undecodable(Exception):
    """The body is not what its coding says, or grows beyond all bounds."""


class Decoder(Protocol):
    """Undoes one coding."""

    def feed(self, data: bytes) -> bytes:
        """What the next piece becomes.

        Raises:
            Undecodable: it cannot be decoded, or is too much.
        """

    def finish(self) -> None:
        """The body has ended.

        Raises:
            Undecodable: before the coding's own end.
        """


class Zlib:
    """`gzip`, and `deflate` in both of the ways in which servers understand it."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inner = zlib.decompressobj(31) if gzip else None
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """What the next piece becomes."""
        parts: list[bytes] = []
        left = MAX_DECODED_BYTES
        while data:
            inner = self._decompressor(data)
            self._begun = True
            try:
                part = inner.decompress(data, left + 1)
            except zlib.error as error:
                raise Undecodable("the body is not compressed as it says") from error
            left -= len(part)
            if left < 0 or inner.unconsumed_tail:
                raise Undecodable("the body grows too much")
            parts.append(part)
            data = inner.unused_data
            if data and not self._gzip:
                raise Undecodable("something follows the compressed body")
        return b"".join(parts)

    def finish(self) -> None:
        """The body has ended."""
        if self._begun and self._inner is not None and not self._inner.eof:
            raise Undecodable("the compressed body has no end")

    def _decompressor(self, data: bytes) -> "zlib._Decompress":
        if self._inner is None:
            # RFC 9110 §8.4.1.2: the zlib format; some servers send the bare one. CM is 8 in the first byte.
            self._inner = zlib.decompressobj(15 if data[0] & 0x0F == 8 else -15)
        elif self._inner.eof:
            self._inner = zlib.decompressobj(31)  # RFC 1952 §2.2: members follow each other
        return self._inner


class Brotli:
    """`br` (RFC 7932)."""

    def __init__(self) -> None:
        self._inner = brotli.Decompressor()
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """What the next piece becomes."""
        self._begun = True
        parts: list[bytes] = []
        total = 0
        try:
            while True:
                part = self._inner.process(data, output_buffer_limit=_BROTLI_STEP)
                parts.append(part)
                total += len(part)
                if total > MAX_DECODED_BYTES:
                    raise Undecodable("the body grows too much")
                if self._inner.is_finished() or self._inner.can_accept_more_data():
                    return b"".join(parts)
                data = b""
        except brotli.error as error:
            raise Undecodable("the body is not compressed as it says") from error

    def finish(self) -> None:
        """The body has ended."""
        if self._begun and not self._inner.is_finished():
            raise Undecodable("the compressed body has no end")


class Zstd:
    """`zstd` (RFC 8878); frames may follow each other."""

    def __init__(self) -> None:
        self._make = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._inner = self._make.decompressobj()
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """What the next piece becomes."""
        self._begun = True
        parts: list[bytes] = []
        total = 0
        for start in range(0, len(data), _ZSTD_SLICE):
            for part in self._slice(data[start : start + _ZSTD_SLICE]):
                parts.append(part)
                total += len(part)
            if total > MAX_DECODED_BYTES:
                raise Undecodable("the body grows too much")
        return b"".join(parts)

    def finish(self) -> None:
        """The body has ended."""
        if self._begun and not self._inner.eof:
            raise Undecodable("the compressed body has no end")

    def _slice(self, data: bytes) -> list[bytes]:
        parts: list[bytes] = []
        while data:
            if self._inner.eof:
                self._inner = self._make.decompressobj()
            try:
                parts.append(self._inner.decompress(data))
            except zstandard.ZstdError as error:
                raise Undecodable("the body is not compressed as it says") from error
            data = self._inner.unused_data if self._inner.eof else b""
        return parts


DECODERS: Final[Mapping[str, Callable[[], Decoder]]] = {
    "gzip": lambda: Zlib(gzip=True),
    "x-gzip": lambda: Zlib(gzip=True),
    "deflate": lambda: Zlib(gzip=False),
    "br": Brotli,
    "zstd": Zstd,
}
