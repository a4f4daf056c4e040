"""Ports that leave a sandbox, each for one scheme."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

Scheme = Literal["http", "https"]
STANDARD_PORTS: Final[Mapping[int, Scheme]] = MappingProxyType({80: "http", 443: "https"})
"""An operator may open more."""


def default_port(scheme: str) -> int | None:
    """The port that a URL of this scheme means without naming it (RFC 9110 §4.2); None for other schemes."""
    return next((port for port, of in STANDARD_PORTS.items() if of == scheme), None)


def authority(host: str, port: int, scheme: str) -> str:
    """`host`, or `host:port` where the port does not go without saying (RFC 9110 §4.2.3)."""
    return host if port == default_port(scheme) else f"{host}:{port}"
