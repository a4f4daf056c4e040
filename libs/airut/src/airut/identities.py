"""One nkey per bus identity, made at first use. The seed proves who connects; it never leaves its file."""

import os
import secrets
from pathlib import Path

import nkeys


def seed_file(folder: Path, identity: str) -> Path:
    """Where the seed of an identity lies."""
    return folder / f"{identity}.nk"


def ensure_identity(folder: Path, identity: str) -> str:
    """Create the identity's user nkey unless it exists (0600) and return the public key (`U…`)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = seed_file(folder, identity)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "wb") as stream:
            seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)  # type: ignore[no-untyped-call]
            stream.write(seed)
    pair = nkeys.from_seed(bytearray(path.read_bytes().strip()))  # type: ignore[no-untyped-call]
    return bytes(pair.public_key).decode()
