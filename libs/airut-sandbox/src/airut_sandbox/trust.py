"""Which authorities git believes: the system's, and an operator's besides. Git alone knows only one or the other."""

import os
import secrets
import ssl
from pathlib import Path


def trust_config(ca_file: Path | None, bundle: Path) -> tuple[tuple[str, str], ...]:
    """Git's `http.ssl*` settings. With a `ca_file`, the authorities of the system and those in it are written to
    `bundle` together; without one, git's own default holds, or what `SSL_CERT_FILE` names.

    Raises:
        OSError: a file with authorities cannot be read, or `bundle` not written.
    """
    if ca_file is None:
        named = os.environ.get("SSL_CERT_FILE")
        return (("http.sslCAInfo", named),) if named else ()
    system = ssl.get_default_verify_paths()
    own = ca_file.read_bytes()
    others = Path(system.cafile).read_bytes() + b"\n" if system.cafile else b""
    _write_if_new(bundle, others + own)
    settings = (("http.sslCAInfo", str(bundle)),)
    # A system that keeps its authorities in a folder only.
    return settings if system.cafile or not system.capath else (*settings, ("http.sslCAPath", system.capath))


def _write_if_new(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    draft.write_bytes(content)
    draft.rename(path)
