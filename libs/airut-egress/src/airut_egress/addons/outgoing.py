"""The headers of an allowed request as they go out: no connection-specific ones, no upgrade but to WebSocket."""

import re
from collections.abc import Sequence
from typing import Final

from mitmproxy.http import Headers, Request

from airut_egress.interception.head import MAX_HEADERS
from airut_egress.interception.port import ClientPort
from airut_egress.ports import authority

Header = tuple[bytes, bytes]

# RFC 9110 §7.6.1, and what would make an upstream speak something else. `host` is written anew.
_DROPPED: Final = frozenset(
    {
        b"host",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"upgrade",
        b"http2-settings",
        b"alt-used",
    }
)
# Compressed frames could hide anything and grow without bounds when they are read.
_DROPPED_OF_WEBSOCKET: Final = frozenset({b"sec-websocket-extensions"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def upgrade_problem(method: str, version: str, headers: Sequence[Header]) -> tuple[bool, str | None]:
    """Whether a request wants a WebSocket, and why it must not go on (field notes 17).

    HTTP/2 values have not been through a parser of lines, so control characters are looked for here as well.
    """
    if len(headers) > MAX_HEADERS:
        return False, f"it has more than {MAX_HEADERS} headers"
    wanted = set[bytes]()
    for name, value in headers:
        if _BAD_VALUE.search(value) or _BAD_VALUE.search(name):
            return False, "a header has a control character"
        if name.lower() == b"upgrade":
            wanted |= {token.strip().lower() for token in value.split(b",")}
    if not wanted:
        return False, None
    if wanted != {b"websocket"} or method != "GET" or version != "HTTP/1.1":
        return False, "the only upgrade is from HTTP/1.1 to WebSocket"
    return True, None


def outgoing_headers(headers: Sequence[Header], *, websocket: bool) -> list[Header]:
    """Without what belongs to this connection alone, `Connection` rebuilt from what it may say."""
    tokens = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    dropped = _DROPPED | (tokens - _FRAMING)
    if websocket:
        dropped |= _DROPPED_OF_WEBSOCKET
    kept = [(name, value) for name, value in headers if name.lower() not in dropped]
    if websocket:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    elif b"close" in tokens:
        kept.append((b"Connection", b"close"))
    elif b"keep-alive" in tokens:
        kept.append((b"Connection", b"keep-alive"))
    if any(name.lower() == b"te" and value.strip().lower() == b"trailers" for name, value in headers):
        kept.append((b"te", b"trailers"))
    return kept


def write_head(request: Request, port: ClientPort, headers: Sequence[Header], target: bytes) -> None:
    """Make a request what goes out: origin form, one canonical name, the exact path that was judged."""
    name = authority(port.host, port.port, port.scheme).encode("ascii")
    request.data.host = port.host
    if request.is_http2:
        request.data.authority = name
        request.headers = Headers(headers)
    else:
        request.data.authority = b""
        request.headers = Headers([(b"Host", name), *headers])
    request.data.path = target
