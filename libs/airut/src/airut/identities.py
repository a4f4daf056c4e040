"""One nkey per bus identity, made at first use. The seed proves who connects; it never leaves its file."""

import secrets
from pathlib import Path

import nkeys

from airut_common.private_file import create_private


def seed_file(folder: Path, identity: str) -> Path:
    """Where the seed of an identity lies."""
    return folder / f"{identity}.nk"


def ensure_identity(folder: Path, identity: str) -> str:
    """Create the identity's user nkey unless it exists (0600) and return the public key (`U…`)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = seed_file(folder, identity)
    if not path.exists():
        seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)  # type: ignore[no-untyped-call]
        create_private(path, seed)
    pair = nkeys.from_seed(bytearray(path.read_bytes().strip()))  # type: ignore[no-untyped-call]
    return bytes(pair.public_key).decode()
