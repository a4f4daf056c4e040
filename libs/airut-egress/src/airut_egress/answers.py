"""Answers of our own: what a sandbox gets in place of a response."""

from mitmproxy.http import Headers, Response

from .denial import denial_body, denial_text
from .exchange import Exchange
from .statuses import status_for


def denial(exchange: Exchange, obstacle: str, detail: str = "", *, agent: str, close: bool) -> Response:
    """The answer to a request that does not go out, or went nowhere. `agent` is what asks, as it calls itself."""
    if agent.startswith("git/"):
        # It shows its user what is plain text, and of everything else the status alone.
        media_type, body = b"text/plain", denial_text(obstacle=obstacle, detail=detail)
    else:
        media_type, body = (
            b"application/json",
            denial_body(
                obstacle=obstacle,
                host=exchange.host,
                path=exchange.path,
                method=exchange.method,
                detail=detail,
            ),
        )
    response = _response(status_for(obstacle), media_type, body, close=close)
    if obstacle == "rate":
        response.headers["retry-after"] = "1"
    return response


def _response(status: int, media_type: bytes, body: bytes, *, close: bool) -> Response:
    headers = [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if close:
        headers.append((b"connection", b"close"))
    response = Response.make(status, body, Headers(headers))
    response.stream = False
    return response
