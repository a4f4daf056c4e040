"""What protects a page that shows hostile text: who may ask (Host), and what a browser may do with it (CSP)."""

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

#: No inline script or style, nothing from elsewhere, no framing, no form target (row 56 of the field notes).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ExposedAddress(Exception):
    """The configured address would show every prompt to the network."""


def require_loopback(host: str) -> None:
    """The dashboard has no login, so it listens where only this host can ask.

    Raises:
        ExposedAddress: for any other address.
    """
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ExposedAddress(
            f"dashboard.listen: {host} is not a loopback address, and the dashboard has no login; "
            "listen on 127.0.0.1 and put a reverse proxy that authenticates in front"
        )


def host_allowed(header: str | None, public_url: str | None) -> bool:
    """Whether a Host header names us. A foreign name on a loopback address is DNS rebinding by a web page."""
    if not header:
        return False
    name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
    if name == "localhost" or (public_url is not None and name == urlsplit(public_url).hostname):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def guard(
    public_url: str | None,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    """Middleware: checks Host, adds the headers above to every answer."""

    async def middleware(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response: Response
        if host_allowed(request.headers.get("host"), public_url):
            response = await call_next(request)
        else:
            response = PlainTextResponse("this address answers only under its own name\n", status_code=421)
        response.headers.update(HEADERS)
        return response

    return middleware
