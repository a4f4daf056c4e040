"""Loopback ports: a free one, kept across restarts so that reconnecting clients find the server again."""

import contextlib
import socket
from pathlib import Path


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a TCP listener could bind there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def remembered_port(file: Path) -> int:
    """The port written in `file` while it is free, otherwise a new free one, written there."""
    with contextlib.suppress(OSError, ValueError):
        port = int(file.read_text(encoding="ascii"))
        if 0 < port < 65536 and is_free(port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.write_text(f"{port}\n", encoding="ascii")
    return port
