"""References to bytes in the object store; messages carry these and stay small."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .base import Message, Sha256


class BlobRef(Message):
    """A file in the `airut_blobs` object store."""

    blob: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
    """Object name in the store: generated, never taken from the sender."""
    name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    """Name to show to people; hostile until made safe for a file system."""
    media_type: Annotated[str, StringConstraints(max_length=255)] = "application/octet-stream"
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256
