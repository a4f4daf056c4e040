"""Answers of our own: what a sandbox gets in place of a response."""

from typing import Final

from mitmproxy.http import Headers, Response

from .denial import denial_body
from .exchange import Exchange

#: Obstacles that say something about the upstream and not about the rules (RFC 9110 §15.6.3).
_BAD_GATEWAY: Final = frozenset({"upstream-unknown", "upstream-unreachable", "upstream-tls"})
_MISDIRECTED: Final = frozenset({"mismatch"})


def denial(exchange: Exchange, obstacle: str, detail: str = "", *, close: bool) -> Response:
    """The answer to a request that does not go out, or went nowhere."""
    body = denial_body(
        obstacle=obstacle, host=exchange.host, path=exchange.path, method=exchange.method, detail=detail
    )
    return _response(status_for(obstacle), body, close=close)


def status_for(obstacle: str) -> int:
    """403; 421 when names disagree (RFC 9110 §15.5.20), 502 when the upstream is at fault, 503 when it is too much."""
    if obstacle in _BAD_GATEWAY:
        return 502
    if obstacle == "connections":
        return 503
    return 421 if obstacle in _MISDIRECTED else 403


def _response(status: int, body: bytes, *, close: bool) -> Response:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if close:
        headers.append((b"connection", b"close"))
    response = Response.make(status, body, Headers(headers))
    response.stream = False
    return response
