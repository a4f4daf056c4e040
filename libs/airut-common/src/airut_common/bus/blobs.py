"""The object store: attachments on their way in, outbox files on their way out."""

import asyncio
import hashlib
import io
from typing import Any, BinaryIO, override

from nats.js import JetStreamContext
from nats.js.api import ObjectMeta
from nats.js.errors import ObjectNotFoundError

from airut_common.bus.errors import AWAY, BusUnavailable
from airut_common.bus.topology import BLOB_BUCKET
from airut_common.contracts.v1 import BlobRef, new_id

TRANSFER_SECONDS = 60.0
"""nats-py waits without end for the next chunk when the server dies in the middle of a file."""


async def put_blob(js: JetStreamContext, data: bytes, *, name: str, media_type: str) -> BlobRef:
    """Store bytes under a generated name; `name` is only for people."""
    blob = await _put(js, data)
    digest = hashlib.sha256(data).hexdigest()
    return BlobRef(blob=blob, name=name, media_type=media_type, size_bytes=len(data), sha256=digest)


async def put_file(js: JetStreamContext, file: BinaryIO, *, name: str, media_type: str) -> BlobRef:
    """Store what is left of a file, read in a thread and never held whole."""
    source = _Counted(file)
    blob = await _put(js, source)
    digest = source.digest.hexdigest()
    return BlobRef(blob=blob, name=name, media_type=media_type, size_bytes=source.count, sha256=digest)


async def _put(js: JetStreamContext, data: "bytes | _Counted") -> str:
    blob = new_id()
    try:
        async with asyncio.timeout(TRANSFER_SECONDS):
            store = await js.object_store(BLOB_BUCKET)
            await store.put(blob, data, meta=ObjectMeta(name=blob))
    except AWAY as error:
        raise BusUnavailable(f"a blob was not stored: {error!r}") from error
    return blob


class _Counted(io.BufferedIOBase):
    """A file that knows how much was read from it, and its digest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.count = 0

    @override
    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.digest.update(data)
        self.count += len(data)
        return len(data)


async def get_blob(js: JetStreamContext, ref: BlobRef) -> bytes:
    """The bytes of a reference, which are what the reference says."""
    try:
        async with asyncio.timeout(TRANSFER_SECONDS):
            store = await js.object_store(BLOB_BUCKET)
            data = bytes((await store.get(ref.blob)).data or b"")
    except ObjectNotFoundError:
        raise LookupError(f"{ref.name}: the stored file is gone") from None
    except AWAY as error:
        raise BusUnavailable(f"blob {ref.blob}: {error!r}") from error
    if len(data) != ref.size_bytes or hashlib.sha256(data).hexdigest() != ref.sha256:
        raise LookupError(f"{ref.name}: the stored file is not the one that was sent")
    return data
