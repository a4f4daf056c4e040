"""`host[:port]` as Host, `:authority` and absolute-form targets have it, read strictly (field notes 11, 12)."""

import re
from typing import Final

from airut_egress.names import AddressLiteral, BadName, canonical_host

_PORT: Final = re.compile(rb"[0-9]{1,5}")


def read_authority(raw: bytes) -> tuple[str, int | None]:
    """The canonical host and the port, if one is given.

    Raises:
        AddressLiteral: the host is an IP address in any notation.
        BadName: it is not `host` or `host:port`; user info is among what is not.
    """
    if raw.startswith(b"["):
        raise AddressLiteral("an IP address is not a name")
    host, colon, port = raw.partition(b":")
    if colon and _PORT.fullmatch(port) is None:
        raise BadName("the port is not a number")
    return canonical_host(host), int(port) if colon else None
