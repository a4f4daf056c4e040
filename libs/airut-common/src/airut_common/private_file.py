"""Files that may hold secrets: 0600 from their first moment, and there whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex


def create_private(path: Path, content: bytes) -> None:
    """Make a private file, also when several processes begin at once; one that is there already stays.

    Raises:
        OSError: it could not be written.
    """
    with _draft(path, content) as draft, contextlib.suppress(FileExistsError):
        os.link(draft, path)


def replace_private(path: Path, content: bytes) -> None:
    """Make a private file in place of what is there.

    Raises:
        OSError: it could not be written; what was there stays.
    """
    with _draft(path, content) as draft:
        draft.replace(path)


@contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
