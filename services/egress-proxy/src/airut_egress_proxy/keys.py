"""The key from which surrogates are derived: made once, kept beside the service's other state."""

import secrets
from pathlib import Path
from typing import Final

from airut_common.private_file import create_private

KEY_BYTES: Final = 32


def installation_key(path: Path) -> bytes:
    """Read the key, or make it (0600).

    Raises:
        ValueError: the file holds something else.
        OSError: the file cannot be read or made.
    """
    if not path.exists():
        create_private(path, secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} does not hold a key of {KEY_BYTES} bytes")
    return key
