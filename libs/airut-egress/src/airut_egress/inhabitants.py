"""Whether anybody still lives in the network namespace of a socket.

A listening socket keeps its namespace alive after the sandbox is gone, and whoever opened the session may have died
before closing it.
"""

import fcntl
import os
import socket
from pathlib import Path
from typing import Final

_SIOCGSKNS: Final = 0x894C  # <linux/sockios.h>: a descriptor of the socket's network namespace


def namespace_of(sock: socket.socket) -> int | None:
    """The inode of a socket's network namespace; None where the kernel does not say (it wants CAP_NET_ADMIN
    there)."""
    try:
        descriptor = fcntl.ioctl(sock, _SIOCGSKNS)
    except OSError:
        return None
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def inhabited_namespaces() -> frozenset[int]:
    """Inodes of the network namespaces that processes live in, as far as we may see."""
    found = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            found.add((process / "ns" / "net").stat().st_ino)
        except OSError:
            continue  # it has ended, or belongs to somebody else, and then it is not in a sandbox of ours
    return frozenset(found)
