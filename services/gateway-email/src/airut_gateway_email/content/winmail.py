"""Pure: `winmail.dat`, what Outlook makes of a mail that it takes for an internal one (MS-OXTNEF)."""

import struct
from dataclasses import dataclass

import tnefparse.tnef

TNEF = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})

_HEAD = struct.Struct("<BII")
_SIGNATURE_BYTES = 6
_CHECKSUM_BYTES = 2
_PADDING = bytes(12)
"""The library stops before a last attribute that is shorter than that."""
MAX_COPIED_BYTES = 4 * 1024**3
"""It copies the rest of the container for each attribute."""


@dataclass(frozen=True)
class Unpacked:
    """What was in it."""

    text: str
    html: bytes
    files: tuple[tuple[str, bytes], ...]
    """Names are as hostile as in any mail."""


def unpack(data: bytes) -> Unpacked | None:
    """None: it cannot be read, and should be passed on as it is."""
    if not _is_whole(data):
        return None
    try:
        found = tnefparse.tnef.TNEF(data + _PADDING, do_checksum=True)  # type: ignore[no-untyped-call]
        return Unpacked(
            _text(found.body),
            _bytes(found.htmlbody),
            tuple((file.long_filename() or "", _bytes(file.data)) for file in found.attachments),
        )
    except MemoryError:
        raise  # says nothing about the container
    except Exception:  # noqa: BLE001  # the library meets hostile bytes, and promises nothing about its errors
        return None


def _is_whole(data: bytes) -> bool:
    """Whether the attributes fill the container (MS-OXTNEF 2.1.3.3); the library is silent about a missing end."""
    offset, count = _SIGNATURE_BYTES, 0
    while offset + _HEAD.size <= len(data) and count * len(data) < MAX_COPIED_BYTES:
        offset += _HEAD.size + _HEAD.unpack_from(data, offset)[2] + _CHECKSUM_BYTES
        count += 1
    return offset == len(data)


def _text(value: object) -> str:
    return value.decode("cp1252", "replace") if isinstance(value, bytes) else str(value or "")


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value or "").encode()
