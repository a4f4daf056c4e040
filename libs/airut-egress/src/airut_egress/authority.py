"""The certificate authority of an installation, and the leaf certificates that a sandbox sees (field notes 30)."""

import datetime
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

from airut_common.private_file import create_private

_AUTHORITY_AGE: Final = datetime.timedelta(days=10 * 365)
_LEAF_AGE: Final = datetime.timedelta(days=30)
_RENEW_BEFORE: Final = datetime.timedelta(days=2)
# The sandbox's clock may be behind ours.
_BACKDATE: Final = datetime.timedelta(days=2)
_MAX_CONTEXTS: Final = 512
_PROTOCOLS: Final = (b"h2", b"http/1.1")


class Authority:
    """Signs leaf certificates on demand. The key never leaves this process and its file."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate
        # One leaf key for all names: it lives as long as this process and is never written anywhere.
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: OrderedDict[str, tuple[SSL.Context, datetime.datetime]] = OrderedDict()

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """Read the authority, or make it. The key's file is 0600 from its first moment.

        Raises:
            OSError: the folder cannot be used.
            ValueError: the files there are not a key and its certificate.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        both = folder / "authority.pem"
        if not both.exists():
            create_private(both, _create_authority())
        data = both.read_bytes()
        key = load_pem_private_key(data, password=None)
        certificate = x509.load_pem_x509_certificate(data)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError(f"{both} does not hold a key and its certificate")
        return cls(key, certificate)

    @property
    def certificate_pem(self) -> str:
        """What clients in a sandbox trust."""
        return self._certificate.public_bytes(Encoding.PEM).decode("ascii")

    def context_for(self, host: str) -> SSL.Context:
        """The server side of TLS for a canonical host; made once and kept."""
        now = datetime.datetime.now(datetime.UTC)
        known = self._contexts.get(host)
        if known is not None and known[1] > now:
            self._contexts.move_to_end(host)
            return known[0]
        context = _server_context(self._leaf(host, now), self._leaf_key)
        self._contexts[host] = (context, now + _LEAF_AGE - _RENEW_BEFORE)
        self._contexts.move_to_end(host)
        while len(self._contexts) > _MAX_CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def _leaf(self, host: str, now: datetime.datetime) -> x509.Certificate:
        # A common name has 64 characters at most (RFC 5280 A.1); without one the alternative name is critical.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)] if len(host) <= 64 else [])
        authority = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._certificate.subject)
            .public_key(self._leaf_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(now + _LEAF_AGE)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=not name.rdns)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._leaf_key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )


def _create_authority() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Airut sandbox network")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _AUTHORITY_AGE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _server_context(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_alpn_select_callback(_select_protocol)
    return context


def _select_protocol(_connection: SSL.Connection, offers: list[bytes]) -> Any:
    # In our order, as most servers do; who offers nothing of ours was refused at the ClientHello.
    return next((protocol for protocol in _PROTOCOLS if protocol in offers), SSL.NO_OVERLAPPING_PROTOCOLS)
