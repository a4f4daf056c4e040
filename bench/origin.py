"""The upstream of the measurements: HTTP/1 plain, HTTP/1 and HTTP/2 over TLS, in a process of its own."""

import asyncio
import ssl
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import trustme
import uvloop

NAME = "api.example.test"
BODY = b"x" * 1024
TRANSFER_BYTES = 200 * 1024 * 1024
_PIECE = b"x" * (256 * 1024)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def make_certificates(folder: Path) -> None:
    """Write `ca.pem`, and `leaf.pem` for `NAME` and 127.0.0.1."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf = authority.issue_cert(NAME, "127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "leaf.pem"))


def serve(folder: Path, pipe: Connection) -> None:
    """Serve for ever; tells the plain and the TLS port through the pipe first."""

    async def main() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "leaf.pem")
        context.set_alpn_protocols(["h2", "http/1.1"])
        loop = asyncio.get_running_loop()
        plain = await loop.create_server(_Origin, "127.0.0.1", 0, backlog=1024)
        tls = await loop.create_server(_Origin, "127.0.0.1", 0, ssl=context, backlog=1024)
        pipe.send((plain.sockets[0].getsockname()[1], tls.sockets[0].getsockname()[1]))
        await asyncio.Event().wait()

    uvloop.run(main())


class _Origin(asyncio.Protocol):
    """Answers every request with `BODY`; `/down` with `TRANSFER_BYTES`; bodies of requests are read and dropped."""

    _http2: h2.connection.H2Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._head = b""
        self._body_left = 0
        self._to_send = 0
        session: Any = transport.get_extra_info("ssl_object")
        if session is not None and session.selected_alpn_protocol() == "h2":
            self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            self._http2.initiate_connection()
            self._transport.write(self._http2.data_to_send())

    def data_received(self, data: bytes) -> None:
        if self._http2 is not None:
            self._receive_http2(self._http2, data)
            return
        while data:
            if self._body_left:
                taken = min(self._body_left, len(data))
                self._body_left -= taken
                data = data[taken:]
                if not self._body_left:
                    self._transport.write(_ANSWER)
                continue
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = b""
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"GET /down "):
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % TRANSFER_BYTES)
            self._to_send = TRANSFER_BYTES
            self.resume_writing()
        elif head.startswith(b"POST "):
            lines = head.lower().split(b"\r\n")
            self._body_left = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        else:
            self._transport.write(_ANSWER)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        while self._to_send and not self._paused:
            size = min(self._to_send, len(_PIECE))
            self._to_send -= size
            self._transport.write(_PIECE[:size])

    def _receive_http2(self, connection: h2.connection.H2Connection, data: bytes) -> None:
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.StreamEnded) and event.stream_id is not None:
                connection.send_headers(
                    event.stream_id, [(":status", "200"), ("content-length", str(len(BODY)))]
                )
                connection.send_data(event.stream_id, BODY, end_stream=True)
        self._transport.write(connection.data_to_send())
