"""Bodies in `aws-chunked` encoding, whose chunks are signed in a chain that begins with the request's signature.

Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in
Multiple Chunks" and "... Including Trailing Headers". The body keeps its length, so Content-Length stays true.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from airut_egress.swap import Refused

from .canonical import canonical_value
from .keys import Signer

#: A signature stands before the data that it covers, so a signed chunk is held until it is complete. Larger ones
#: are refused: SDKs send 64 KiB to 1 MiB.
MAX_SIGNED_CHUNK: Final = 1024 * 1024
#: Bytes of a chunk's first line, of which the longest signature takes 144.
MAX_CHUNK_LINE: Final = 256
#: Bytes of all trailers together.
MAX_TRAILERS: Final = 4096

_EMPTY: Final = sha256(b"").hexdigest()
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;chunk-signature=([0-9a-f*]+))?")
_TRAILER: Final = re.compile(rb"([A-Za-z0-9-]+):(.*)", re.DOTALL)
_TRAILER_SIGNATURE: Final = b"x-amz-trailer-signature"
_TRAILER_NAME: Final = re.compile(rb"x-amz-checksum-[a-z0-9]+")


@dataclass(slots=True)
class Chain:
    """Two chains side by side: the surrogate's, which is verified, and the real key's, which is made."""

    algorithm: str
    date: str
    """`YYYYMMDDTHHMMSSZ`, of the request."""
    scope: str
    theirs: Signer = field(repr=False)
    ours: Signer = field(repr=False)
    their_last: str = field(repr=False)
    """The surrogate's signature before this one; at first that of the request."""
    our_last: str = field(repr=False)

    def link(self, kind: str, digests: str, signature: bytes) -> bytes:
        """Verify a link and make ours.

        Args:
            kind: `PAYLOAD` or `TRAILER`.
            digests: what comes last in the string to sign.
            signature: as received, padded with `*` to its width in SigV4A.

        Raises:
            Refused: the surrogate's key did not make it, or not here.
        """
        prefix = f"{self.algorithm}-{kind}\n{self.date}\n{self.scope}\n"
        theirs = signature.decode("ascii").rstrip("*")
        text = f"{prefix}{self.their_last}\n{digests}".encode("ascii")
        if len(signature) != self.ours.width or not self.theirs.verify(text, theirs):
            raise Refused("the signature of a chunk of the body does not match")
        ours = self.ours.sign(f"{prefix}{self.our_last}\n{digests}".encode("ascii"))
        self.their_last, self.our_last = theirs, ours
        return ours.ljust(self.ours.width, "*").encode("ascii")


class ChunkedResigner:
    """Takes a body as received and gives it back as it is to be sent; each chunk is verified before it is given.

    Without a chain (STREAMING-UNSIGNED-PAYLOAD-TRAILER) the bytes stay as they are, and only the framing and the
    trailers' names are checked. After a refusal everything else is refused too.
    """

    def __init__(
        self, *, decoded_length: int, trailers: frozenset[bytes] | None, chain: Chain | None
    ) -> None:
        """
        Args:
            decoded_length: bytes of all chunks together.
            trailers: lower-case names that come after the chunks; None when there is no such part.
            chain: for signed chunks.
        """
        self._left = decoded_length
        self._trailers = trailers
        self._chain = chain
        self._buffer = bytearray()
        self._state: Callable[[bytearray], bool] | None = self._take_line
        self._refusal: Refused | None = None
        self._chunk = 0
        self._size_text = b""
        self._signature = b""
        self._trailer_text = bytearray()
        self._found: dict[bytes, bytes] = {}
        self._trailer_signature: tuple[int, bytes] | None = None
        self._bare_line_feed = False

    def feed(self, data: bytes) -> bytes:
        """The next bytes in any splits; returns what may be sent on.

        Raises:
            Refused: a signature does not match, the framing is wrong or a limit is passed.
        """
        if self._refusal is not None:
            raise self._refusal
        self._buffer += data
        made = bytearray()
        try:
            while self._state is not None and self._state(made):
                pass
            if self._state is None and self._buffer:
                raise Refused("the body goes on after its last chunk")
        except Refused as refusal:
            self._refusal = refusal
            self._buffer.clear()
            raise
        return bytes(made)

    def finish(self) -> None:
        """To be called at the end of the body.

        Raises:
            Refused: the body is not complete.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._state is not None:
            raise Refused("the body ends before its last chunk is complete")

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _take_line(self, made: bytearray) -> bool:
        end = self._buffer.find(b"\r\n", 0, MAX_CHUNK_LINE)
        if end < 0:
            if len(self._buffer) >= MAX_CHUNK_LINE:
                raise Refused("a chunk's first line is too long")
            return False
        match = _CHUNK_LINE.fullmatch(self._take(end + 2)[:-2])
        if match is None or (match[2] is None) != (self._chain is None):
            raise Refused("a chunk's first line is malformed")
        self._size_text, self._signature = match[1], match[2] or b""
        self._chunk = int(match[1], 16)
        if self._chunk > self._left or (self._chunk == 0 and self._left):
            raise Refused("the chunks are not as long as x-amz-decoded-content-length says")
        if self._chain is not None and self._chunk > MAX_SIGNED_CHUNK:
            raise Refused("a signed chunk is larger than 1 MiB: use smaller chunks or an unsigned payload")
        self._left -= self._chunk
        self._begin_chunk(made)
        return True

    def _begin_chunk(self, made: bytearray) -> None:
        last = self._chunk == 0
        if self._chain is None:
            made += self._size_text + b"\r\n"
        elif last:
            made += self._signed_line(b"")
        if not last:
            self._state = self._take_data if self._chain is None else self._take_signed_data
        else:
            self._state = self._take_end if self._trailers is None else self._take_trailer

    def _signed_line(self, data: bytes) -> bytes:
        if self._chain is None:
            raise AssertionError("only signed chunks have a signature")
        digests = f"{_EMPTY}\n{sha256(data).hexdigest()}"
        made = self._chain.link("PAYLOAD", digests, self._signature)
        return self._size_text + b";chunk-signature=" + made + b"\r\n"

    def _take_signed_data(self, made: bytearray) -> bool:
        if len(self._buffer) < self._chunk:
            return False
        data = self._take(self._chunk)
        made += self._signed_line(data)
        made += data
        self._state = self._take_end
        return True

    def _take_data(self, made: bytearray) -> bool:
        data = self._take(min(self._chunk, len(self._buffer)))
        made += data
        self._chunk -= len(data)
        if self._chunk:
            return False
        self._chunk = 1  # not the last one
        self._state = self._take_end
        return True

    def _take_end(self, made: bytearray) -> bool:
        if not b"\r\n".startswith(self._buffer[:2]):
            raise Refused("a chunk is not followed by a line break")
        if len(self._buffer) < 2:
            return False
        made += self._take(2)
        self._state = self._take_line if self._chunk else None
        return True

    def _take_trailer(self, made: bytearray) -> bool:
        end = self._buffer.find(b"\n", 0, MAX_TRAILERS)
        if len(self._trailer_text) + (len(self._buffer) if end < 0 else end) >= MAX_TRAILERS:
            raise Refused("the trailers are too long")
        if end < 0:
            return False
        line = self._take(end + 1)
        start = len(self._trailer_text)
        self._trailer_text += line
        content = line[:-1].removesuffix(b"\r")
        if content:
            self._read_trailer(start, content)
        elif not self._bare_line_feed:
            made += self._finish_trailers()
            self._state = None
        # Some clients end a trailer with a line feed and have an empty line after it, before the end.
        self._bare_line_feed = bool(content) and not line.endswith(b"\r\n")
        return True

    def _read_trailer(self, start: int, content: bytes) -> None:
        match = _TRAILER.fullmatch(content)
        if match is None or self._trailer_signature is not None:
            raise Refused("the trailers are malformed")
        name = match[1].lower()
        if name == _TRAILER_SIGNATURE and self._chain is not None:
            self._trailer_signature = (start + match.start(2), match[2])
            return
        if self._trailers is None or name not in self._trailers or name in self._found:
            raise Refused("a trailer is repeated or not named in x-amz-trailer")
        self._found[name] = canonical_value(match[2])

    def _finish_trailers(self) -> bytes:
        if self._found.keys() != self._trailers:
            raise Refused("a trailer that x-amz-trailer names is missing")
        if self._chain is None:
            return bytes(self._trailer_text)
        if self._trailer_signature is None:
            raise Refused("the trailers are not signed")
        start, theirs = self._trailer_signature
        canonical = b"".join(name + b":" + value + b"\n" for name, value in sorted(self._found.items()))
        # A space after the colon is passed over: one more byte, which stays.
        signature = theirs.strip(b" ")
        if re.fullmatch(rb"[0-9a-f*]+", signature) is None:
            raise Refused("the trailers are malformed")
        ours = self._chain.link("TRAILER", sha256(canonical).hexdigest(), signature)
        start += theirs.index(signature)
        self._trailer_text[start : start + len(signature)] = ours
        return bytes(self._trailer_text)


def trailer_names(value: bytes) -> frozenset[bytes]:
    """The names in `x-amz-trailer`.

    Raises:
        Refused: anything but checksums, which are all that S3 takes there.
    """
    names = [name.strip(b" ").lower() for name in value.split(b",")]
    if len(set(names)) != len(names) or any(_TRAILER_NAME.fullmatch(name) is None for name in names):
        raise Refused("x-amz-trailer names something else than checksums")
    return frozenset(names)
