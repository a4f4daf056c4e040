"""What a signature says about the body, and how the body is held to it."""

import hmac
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal

from airut_egress.swap import Refused

from .chunked import ChunkedResigner

UNSIGNED_PAYLOAD: Final = b"UNSIGNED-PAYLOAD"
_DIGEST: Final = re.compile(rb"[0-9a-f]{64}")


class BodyCheck:
    """Holds a body that is streamed to the digest that was signed."""

    def __init__(self, digest: str) -> None:
        self._expected = digest
        self._hash = sha256()

    def update(self, data: bytes) -> None:
        """Take the next bytes, in any splits."""
        self._hash.update(data)

    def finish(self) -> None:
        """To be called before the last byte is sent on, so that a false body never arrives whole.

        Raises:
            Refused: the body is not what was signed.
        """
        if not hmac.compare_digest(self._hash.hexdigest(), self._expected):
            raise Refused("the body is not the one that was signed")


@dataclass(frozen=True, slots=True)
class BodyRule:
    """What has to be done with the body of a request that was signed anew.

    `hashed`: hold it to `digest` with a `BodyCheck`. `unsigned`: nothing. `chunked`: send what `chunks` makes of
    it. `needs-body`: nothing is signed yet; call `resign` with the whole of it.
    """

    kind: Literal["hashed", "unsigned", "chunked", "needs-body"]
    digest: str | None = None
    """SHA-256 in lower-case hexadecimal."""
    chunks: ChunkedResigner | None = field(default=None, repr=False)

    def check(self) -> BodyCheck:
        """A fresh check of a `hashed` body."""
        if self.digest is None:
            raise ValueError("only a hashed body can be checked")
        return BodyCheck(self.digest)


def is_digest(payload: bytes) -> bool:
    """Whether an `x-amz-content-sha256` is a digest and not one of the literals."""
    return _DIGEST.fullmatch(payload) is not None
