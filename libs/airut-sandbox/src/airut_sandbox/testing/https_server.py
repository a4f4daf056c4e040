"""A handler function behind TLS on a free port."""

import http.server
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

Request = http.server.BaseHTTPRequestHandler


def answer(
    request: Request, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole response; the length is known, so the connection stays usable."""
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@dataclass
class Authority:
    """A CA of this test run, and its certificate in a file."""

    ca: trustme.CA
    file: Path

    def server_context(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context


class HttpsServer:
    """One handler function on a free port, over TLS."""

    def __init__(
        self, context: ssl.SSLContext, handle: Callable[[Request], None], address: str = "127.0.0.1"
    ) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                handle(self)

            do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server looks for

            def log_message(self, *args: object) -> None:
                pass

        self._server = _Server((address, 0), Handler)
        self._server.context = context
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True) as secured:
            self.RequestHandlerClass(secured, client_address, self)  # type: ignore[arg-type]

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that does not trust us, or was killed: the test looks at its own side
