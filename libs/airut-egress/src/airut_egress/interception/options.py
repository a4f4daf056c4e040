"""What mitmproxy's layers are told. Its own defaults favour passing things on (field notes section 6)."""

from typing import Any, Final

from mitmproxy.options import Options
from mitmproxy.proxy.mode_specs import ProxyMode

IDLE_SECONDS: Final = 600
"""A connection on which nothing moves for so long is closed. Long answers may be silent for minutes."""

# Options of mitmproxy's proxyserver addon, which does not run here; its layers ask for them all the same.
_MORE: Final[tuple[tuple[str, Any, Any], ...]] = (
    ("connection_strategy", str, "lazy"),
    ("validate_inbound_headers", bool, True),
    ("normalize_outbound_headers", bool, True),
    ("store_streamed_bodies", bool, False),
    ("stream_large_bodies", str | None, None),
    ("body_size_limit", str | None, None),
    ("keep_host_header", bool, False),
    ("proxy_debug", bool, False),
)

MODE: Final = ProxyMode.parse("transparent")


def make_options() -> Options:
    """Options for every connection."""
    options = Options()
    for name, kind, default in _MORE:
        options.add_option(name, kind, default, "")
    options.update(  # type: ignore[no-untyped-call]
        rawtcp=False,
        upstream_cert=False,
        http3=False,
        ssl_insecure=False,
        ignore_hosts=[],
        allow_hosts=[],
        tcp_hosts=[],
        udp_hosts=[],
        http2_ping_keepalive=0,
        tcp_timeout=IDLE_SECONDS,
    )
    return options


OPTIONS: Final = make_options()
