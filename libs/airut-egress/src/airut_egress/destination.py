"""Where a redirected connection was meant to go."""

import socket
import struct
from typing import Final, Protocol

# <linux/netfilter_ipv4.h>; the answer is a struct sockaddr_in.
_SO_ORIGINAL_DST: Final = 80
_SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")
# <linux/netfilter_ipv6/ip6_tables.h> gives the option the same number; the answer is a struct sockaddr_in6.
_SOL_IPV6: Final = 41
_SOCKADDR_IN6: Final = struct.Struct("!2xH4x16s4x")


class SocketLike(Protocol):
    """What asyncio and uvloop both give for an accepted connection."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As `socket.socket.getsockopt`."""


class DestinationLookup(Protocol):
    """Tells the address and port that the sandbox dialled."""

    def __call__(self, accepted: SocketLike) -> tuple[str, int]:
        """Raises OSError when it cannot be told."""


def original_destination(accepted: SocketLike) -> tuple[str, int]:
    """The destination before nftables redirected the connection.

    Raises:
        OSError: the connection was not redirected, or is gone.
    """
    raw = accepted.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, _SOCKADDR_IN.size)
    port, packed = _SOCKADDR_IN.unpack(raw)
    return socket.inet_ntoa(packed), port


def original_destination_6(accepted: SocketLike) -> tuple[str, int]:
    """As `original_destination`, for a connection over IPv6.

    Raises:
        OSError: the connection was not redirected, or is gone.
    """
    raw = accepted.getsockopt(_SOL_IPV6, _SO_ORIGINAL_DST, _SOCKADDR_IN6.size)
    port, packed = _SOCKADDR_IN6.unpack(raw)
    return socket.inet_ntop(socket.AF_INET6, packed), port
