"""TLS on both sides: which name may be asked for, which certificate is shown, how the upstream is verified."""

from typing import Final

from mitmproxy.connection import Server
from mitmproxy.tls import ClientHelloData, TlsData
from OpenSSL import SSL

from airut_egress.authority import Authority
from airut_egress.interception.port import ClientPort
from airut_egress.names import AddressLiteral, BadName, canonical_host
from airut_egress.upstream_tls import UpstreamTls

_HTTP: Final = frozenset({b"h2", b"http/1.1", b"http/1.0"})
# A fatal alert, unrecognized_name (RFC 8446 §6): clients show it by its name.
_UNRECOGNIZED_NAME: Final = b"\x15\x03\x03\x00\x02\x02\x70"
_NO_PROTOCOL: Final = b"\x15\x03\x03\x00\x02\x02\x78"


class Tls:
    """Provides mitmproxy with OpenSSL connections, or refuses."""

    def __init__(self, port: ClientPort, authority: Authority, upstream: UpstreamTls) -> None:
        self._port = port
        self._authority = authority
        self._upstream = upstream

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """The name in the clear has to be the one that was resolved (field notes 11, 19)."""
        port = self._port
        sni = data.client_hello.sni
        try:
            name = canonical_host(sni or "")
        except AddressLiteral:
            port.refuse("literal", asked=sni or "", farewell=_UNRECOGNIZED_NAME)
            return
        except BadName:
            obstacle = "mismatch" if port.host or sni else "literal"
            port.refuse(obstacle, asked=sni or "", farewell=_UNRECOGNIZED_NAME)
            return
        if not port.adopt(name):
            port.refuse("mismatch", asked=name, farewell=_UNRECOGNIZED_NAME)
            return
        offers = data.client_hello.alpn_protocols
        if offers and _HTTP.isdisjoint(offers):
            port.refuse("protocol", farewell=_NO_PROTOCOL)

    def tls_start_client(self, data: TlsData) -> None:
        """Show a certificate for the name."""
        if not self._port.host:
            raise RuntimeError("a TLS handshake without a name")
        connection = SSL.Connection(self._authority.context_for(self._port.host))
        connection.set_accept_state()
        data.ssl_conn = connection

    def tls_start_server(self, data: TlsData) -> None:
        """Verify the upstream, and speak to it what the sandbox speaks to us."""
        server = data.conn
        if not isinstance(server, Server) or server.address != (self._port.host, self._port.port):
            raise RuntimeError("an upstream that nobody asked for")
        http2 = data.context.client.alpn == b"h2"
        server.sni = self._port.host
        server.alpn_offers = (b"h2", b"http/1.1") if http2 else (b"http/1.1",)
        data.ssl_conn = self._upstream.connection(server.sni, list(server.alpn_offers))

    def tls_failed_client(self, data: TlsData) -> None:
        """What came was not TLS, or the client did not like our certificate."""
        error = data.conn.error or ""
        self._port.refuse("protocol" if "ClientHello" in error else "tls")

    def tls_failed_server(self, data: TlsData) -> None:
        """mitmproxy would remember the failure for the rest of the connection; the next request tries anew."""
        data.conn.error = None
