"""What mitmproxy's layers are told. Its own defaults favour passing things on (field notes section 6)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from mitmproxy.proxy.mode_specs import ProxyMode

if TYPE_CHECKING:
    from mitmproxy.options import Options

IDLE_SECONDS: Final = 600
"""A connection on which nothing moves for so long is closed. Long answers may be silent for minutes."""

MODE: Final = ProxyMode.parse("transparent")


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """Every option that the layers ask for. One that is missing here ends the connection that asks.

    mitmproxy's own `Options` checks the type of a value each time it is read, which took a tenth of a request.
    """

    connection_strategy: str = "lazy"
    """Nothing is dialled before a request has been allowed."""
    rawtcp: bool = False
    websocket: bool = True
    validate_inbound_headers: bool = True
    normalize_outbound_headers: bool = True
    store_streamed_bodies: bool = False
    stream_large_bodies: str | None = None
    body_size_limit: str | None = None
    keep_host_header: bool = False
    http2_ping_keepalive: int = 0
    tcp_timeout: int = IDLE_SECONDS
    proxy_debug: bool = False


OPTIONS: Final = cast("Options", LayerOptions())
