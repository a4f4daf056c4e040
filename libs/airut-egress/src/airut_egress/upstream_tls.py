"""TLS to upstreams: always verified, for the canonical name."""

from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL

# Only the subject alternative names count, and a wildcard stands for a whole label (RFC 9525 §6).
_HOST_FLAGS: Final = 0x4 | 0x20  # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT


class _Connection(SSL.Connection):
    def get_peer_cert_chain(self, **_options: Any) -> None:
        """Nothing: OpenSSL has verified it, and mitmproxy would parse each certificate for nobody."""


class UpstreamTls:
    """The client side of TLS, for every upstream."""

    def __init__(self, ca_file: Path | None = None) -> None:
        """Args:
        ca_file: authorities (PEM) to trust besides the system's.

        Raises:
            ValueError: the file cannot be used.
        """
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        self._context.set_default_verify_paths()
        if ca_file is not None:
            try:
                self._context.load_verify_locations(str(ca_file))
            except SSL.Error:
                raise ValueError(f"{ca_file} is not a file with certificates (PEM)") from None
        self._context.set_verify(SSL.VERIFY_PEER)

    def connection(self, host: str, protocols: list[bytes]) -> SSL.Connection:
        """A connection that completes only with a certificate for `host`."""
        connection = _Connection(self._context)
        # pyOpenSSL has no public way to ask for the check of a name (pyca/pyopenssl#795).
        lib: Any = SSL._lib  # type: ignore[attr-defined]
        parameters = lib.SSL_get0_param(connection._ssl)
        lib.X509_VERIFY_PARAM_set_hostflags(parameters, _HOST_FLAGS)
        name = host.encode("ascii")
        if lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name)) != 1:
            raise ValueError("the name to verify could not be set")
        connection.set_tlsext_host_name(name)
        if protocols:
            connection.set_alpn_protos(protocols)
        connection.set_connect_state()
        return connection
