"""An upstream on loopback: HTTP/1 and HTTP/2, plain and TLS, that records every byte it is sent."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import trustme


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    version: str = "HTTP/1.1"
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The value of the first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass
class Answer:
    """What to send back. `chunks` without a length are sent chunked (HTTP/1) or as they come (HTTP/2)."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b"hello from upstream"
    raw: bytes | None = None
    """Sent as it is over HTTP/1, then the connection is closed."""


Responder = Callable[[Seen], Answer | Awaitable[Answer]]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


class Origin:
    """A running upstream. Change `respond` to change its answers."""

    def __init__(self, names: tuple[str, ...], authority: trustme.CA) -> None:
        self.authority = authority
        self.seen: list[Seen] = []
        self.raw = bytearray()
        """Everything that arrived in HTTP/1 connections."""
        self.connections = 0
        self.respond: Responder = lambda _: Answer()
        self.take_over: RawHandler | None = None
        """Called with the head of each HTTP/1 request; it then owns the connection."""
        self.tls_address = ""
        self.plain_address = ""
        self._names = names
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Origin"]:
        """Serve while the context is open."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(*self._names).configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
        tls = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        plain = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.tls_address = _address(tls)
        self.plain_address = _address(plain)
        try:
            yield self
        finally:
            for server in (tls, plain):
                server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()

    def write_ca(self, path: Path) -> Path:
        """Write the certificate that proves this upstream."""
        self.authority.cert_pem.write_to_path(str(path))
        return path

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        session = writer.get_extra_info("ssl_object")
        http2 = session is not None and session.selected_alpn_protocol() == "h2"
        try:
            await (self._serve_http2(reader, writer) if http2 else self._serve_http1(reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        answer = self.respond(seen)
        return answer if isinstance(answer, Answer) else await answer

    async def _serve_http1(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.raw += head
            if self.take_over is not None:
                await self.take_over(reader, writer, head)
                return
            seen = _parse_head(head)
            seen.body = await self._read_body(seen, reader)
            answer = await self._answer(seen)
            if answer.raw is not None:
                writer.write(answer.raw)
                await writer.drain()
                return
            writer.write(_head(answer, body_follows=seen.method != "HEAD"))
            await writer.drain()

    async def _read_body(self, seen: Seen, reader: asyncio.StreamReader) -> bytes:
        body = b""
        if length := seen.header("content-length"):
            body = await reader.readexactly(int(length))
            self.raw += body
        elif seen.header("transfer-encoding"):
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            while line := (await reader.readuntil(b"\r\n"))[:-2]:
                name, _, value = line.decode("latin-1").partition(":")
                seen.trailers.append((name, value.strip()))
        return body

    async def _serve_http2(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        open_streams: dict[int, Seen] = {}
        while True:
            writer.write(connection.data_to_send())
            await writer.drain()
            data = await reader.read(65536)
            if not data:
                return
            for event in connection.receive_data(data):
                match event:
                    case h2.events.RequestReceived():
                        open_streams[event.stream_id] = _seen_http2(event.headers)
                    case h2.events.DataReceived():
                        open_streams[event.stream_id].body += event.data
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case h2.events.TrailersReceived():
                        open_streams[event.stream_id].trailers = _texts(event.headers)
                    case h2.events.StreamEnded():
                        answer = await self._answer(open_streams.pop(event.stream_id))
                        connection.send_headers(
                            event.stream_id, [(":status", str(answer.status)), *answer.headers]
                        )
                        connection.send_data(event.stream_id, answer.body, end_stream=True)
                    case _:
                        continue


def _address(server: asyncio.Server) -> str:
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _parse_head(head: bytes) -> Seen:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, version = first.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Seen(method, target, headers, version=version)


def _texts(fields: Iterable[Any]) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in fields]


def _seen_http2(fields: Iterable[Any]) -> Seen:
    headers = _texts(fields)
    pseudo = {name: value for name, value in headers if name.startswith(":")}
    return Seen(pseudo[":method"], pseudo[":path"], headers, version="HTTP/2")


def _head(answer: Answer, *, body_follows: bool) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} OK", f"content-length: {len(answer.body)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head + answer.body if body_follows else head
