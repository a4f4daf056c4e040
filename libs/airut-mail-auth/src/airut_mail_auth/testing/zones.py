"""A DNS server over UDP and TCP that answers from a table and can be told to misbehave."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import override

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

UDP_BYTES = 1232
LARGEST = 65535


class ZoneServer:
    """Knows exactly what it was told; every other name does not exist.

    `texts` and `add` fill the table; `fails` and `silent` hold names that are answered SERVFAIL or not at all.
    """

    def __init__(self) -> None:
        self.fails: set[str] = set()
        self.silent: set[str] = set()
        self.questions: list[str] = []
        """Every question as `name TYPE`, in order."""
        self.tcp_questions: list[str] = []
        self._records: dict[tuple[str, str], list[str]] = {}
        self.port = 0

    @property
    def endpoint(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    def add(self, name: str, kind: str, *values: str) -> None:
        """Set the records of one name and type, in the presentation format of a zone file."""
        self._records[name.lower(), kind] = list(values)

    def texts(self, name: str, *values: str) -> None:
        """Set TXT records; each value is one record, split into strings as long as DNS allows."""
        self.add(name, "TXT", *(_quoted(value) for value in values))

    def remove(self, name: str, kind: str) -> None:
        """Forget records."""
        self._records.pop((name.lower(), kind), None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ZoneServer"]:
        """Answer on a free port of 127.0.0.1 while the context is open."""
        loop = asyncio.get_running_loop()
        tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", 0)
        self.port = tcp.sockets[0].getsockname()[1]
        udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=("127.0.0.1", self.port))
        try:
            yield self
        finally:
            udp.close()
            tcp.close()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            query = dns.message.from_wire(await reader.readexactly(length))
            self.tcp_questions.append(_question(query))
            response = self.answer(query)
            if response is not None:
                wire = response.to_wire(max_size=LARGEST)
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
        finally:
            writer.close()

    def answer(self, query: dns.message.Message) -> dns.message.Message | None:
        """The response to a query; None for silence."""
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.questions.append(_question(query))
        if name in self.silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if name in self.fails:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        kind = dns.rdatatype.to_text(question.rdtype)
        values = self._records.get((name, kind))
        alias = self._records.get((name, "CNAME"))
        if values is not None:
            response.answer.append(_rrset(question.name, kind, values))
        elif alias is not None:
            # Only the alias itself: as an authoritative server that does not have the target.
            response.answer.append(_rrset(question.name, "CNAME", alias))
        elif not self._exists(name):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    def _exists(self, name: str) -> bool:
        return any(known == name or known.endswith(f".{name}") for known, _ in self._records)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: ZoneServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    @override
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        response = self._server.answer(query)
        if response is None or self._transport is None:
            return
        if len(response.to_wire(max_size=LARGEST)) > UDP_BYTES:
            response = dns.message.make_response(query, recursion_available=True)
            response.flags |= dns.flags.TC
        self._transport.sendto(response.to_wire(), addr)


def _question(query: dns.message.Message) -> str:
    question = query.question[0]
    return f"{question.name.to_text(omit_final_dot=True).lower()} {dns.rdatatype.to_text(question.rdtype)}"


def _rrset(name: dns.name.Name, kind: str, values: Iterable[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(name, 60, "IN", kind, list(values))


def _quoted(text: str) -> str:
    pieces = [text[start : start + 250] for start in range(0, len(text), 250)] or [""]
    return " ".join('"{}"'.format(piece.replace("\\", "\\\\").replace('"', '\\"')) for piece in pieces)
