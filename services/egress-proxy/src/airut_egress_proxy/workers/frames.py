"""How messages between the service and its workers stand on a stream: a head, a body, perhaps descriptors.

The head is the body's length in bytes (32 bits, big endian), one byte for the kind, one for the number of descriptors
that come beside it. A worker reads what sandboxes send, so what comes from it is bounded and checked like theirs.
"""

import os
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

QUESTION: Final = b"Q"
ANSWER: Final = b"A"
EVENTS: Final = b"E"

MAX_BODY: Final = 16 * 1024 * 1024
MAX_DESCRIPTORS: Final = 3
_HEAD: Final = struct.Struct("!IcB")


class BadFrame(Exception):
    """What came is no frame, and what follows cannot be read either."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it was received. Whoever takes it owns its descriptors."""

    kind: bytes
    body: bytes = field(repr=False)
    descriptors: Sequence[int] = ()


def encode(kind: bytes, body: bytes, descriptors: int = 0) -> bytes:
    """One message as it is sent.

    Raises:
        ValueError: it is too large.
    """
    if len(body) > MAX_BODY:
        raise ValueError(f"a message of {len(body)} bytes is more than a worker takes ({MAX_BODY})")
    return _HEAD.pack(len(body), kind, descriptors) + body


class FrameReader:
    """Puts frames together from what was read, however it was cut."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: Sequence[int] = ()) -> Iterator[Frame]:
        """Take in what was read; the frames that are complete now.

        Raises:
            BadFrame: this is no frame.
        """
        self._data += data
        self._descriptors += descriptors
        while len(self._data) >= _HEAD.size:
            length, kind, count = _HEAD.unpack_from(self._data)
            if length > MAX_BODY or count > MAX_DESCRIPTORS or kind not in {QUESTION, ANSWER, EVENTS}:
                raise BadFrame("a head that is none")
            end = _HEAD.size + length
            if len(self._data) < end:
                return
            # Descriptors come with the first byte of their frame.
            if len(self._descriptors) < count:
                raise BadFrame("descriptors are missing")
            body = bytes(memoryview(self._data)[_HEAD.size : end])
            del self._data[:end]
            yield Frame(kind, body, [self._descriptors.popleft() for _ in range(count)])
        if len(self._descriptors) > MAX_DESCRIPTORS:
            raise BadFrame("descriptors that nobody announced")

    def close(self) -> None:
        """Close descriptors that belong to no frame."""
        while self._descriptors:
            os.close(self._descriptors.popleft())
