"""An authoritative DNS server over UDP and TCP for the world's own names; everything else does not exist."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_PLAIN_BYTES = 512
"""The largest datagram for a client that did not say more with EDNS (RFC 1035 §4.2.1, RFC 6891 §6.2.3)."""
_LARGEST_BYTES = 65535
_TTL_SECONDS = 60
_PORT_ATTEMPTS = 20


@dataclass
class Zones:
    """Records by name and type, such as `{("a.example", "TXT"): ["v=spf1 -all"]}`. May be changed while served."""

    records: dict[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    coming: dict[tuple[str, str], list[Sequence[str]]] = field(default_factory=dict)
    """What the records of a name become, one step with each answer, as in DNS rebinding. Nobody may keep them."""
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often for each of `coming`."""

    def add(self, name: str, kind: str, *values: str) -> None:
        """Set a name's records of one type. TXT values are given without quotes, at any length."""
        self.records[name.lower().rstrip("."), kind] = values

    def answer(self, wire: bytes, *, datagram: bool = False) -> bytes | None:
        """The response to a query; None for what is no query. A datagram that would be too large is truncated."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        response = self._respond(query)
        try:
            return response.to_wire(max_size=max(query.payload, _PLAIN_BYTES) if datagram else _LARGEST_BYTES)
        except dns.exception.TooBig:
            truncated = dns.message.make_response(query)
            truncated.flags |= dns.flags.TC
            return truncated.to_wire()

    def _respond(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        seconds = _TTL_SECONDS
        if (name, kind) in self.coming:
            seconds = 0
            self.asked[name, kind] += 1
            if steps := self.coming[name, kind]:
                self.records[name, kind] = steps.pop(0)
        values = self.records.get((name, kind))
        if values:
            texts = [_quoted(value) for value in values] if kind == "TXT" else list(values)
            response.answer.append(dns.rrset.from_text(question.name, seconds, "IN", kind, *texts))
        elif not any(known == name or known.endswith(f".{name}") for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response


def _quoted(text: str) -> str:
    """A TXT record's text in strings of at most 255 bytes (RFC 1035 §3.3), in the form of a zone file."""
    parts = (text[start : start + 255] for start in range(0, len(text), 255))
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self._zones.answer(data, datagram=True)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, addr)


@asynccontextmanager
async def serve_zones(zones: Zones) -> AsyncIterator[str]:
    """Serve on a free loopback port, the same for UDP and TCP; yields `127.0.0.1:port`."""

    async def tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(2))
            response = zones.answer(await reader.readexactly(length))
            if response is not None:
                writer.write(len(response).to_bytes(2) + response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, which is its right
        finally:
            writer.close()

    udp, listener = _same_port()
    server = await asyncio.start_server(tcp, sock=listener)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Udp(zones), sock=udp)
    try:
        yield f"127.0.0.1:{udp.getsockname()[1]}"
    finally:
        transport.close()
        server.close()
        server.abort_clients()


def _same_port() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on the same free port; whoever holds one of the pair makes us look for another."""
    for _ in range(_PORT_ATTEMPTS):
        listener = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(listener.getsockname())
        except OSError:
            udp.close()
            listener.close()
            continue
        udp.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        return udp, listener
    raise OSError("no port is free for both UDP and TCP")


def domain_records(
    domain: str, *, dkim_selector: str, dkim_record: str, policy: str = "reject"
) -> Mapping[tuple[str, str], list[str]]:
    """What a careful mail domain publishes: DKIM key, an SPF that allows nobody, a DMARC policy."""
    return {
        (domain, "MX"): [f"10 mx.{domain}."],
        (domain, "TXT"): ["v=spf1 -all"],
        (f"{dkim_selector}._domainkey.{domain}", "TXT"): [dkim_record],
        (f"_dmarc.{domain}", "TXT"): [f"v=DMARC1; p={policy}"],
    }
