"""Files that may hold secrets: 0600 from their first moment, and there whole or not at all."""

import contextlib
import os
from pathlib import Path
from secrets import token_hex


def create_private(path: Path, content: bytes) -> None:
    """Make a private file, also when several processes begin at once; one that is there already stays.

    Raises:
        OSError: it could not be written.
    """
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
