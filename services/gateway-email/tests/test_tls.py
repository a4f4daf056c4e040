"""A renewed certificate is used by the next connection; a broken one changes nothing."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiosmtplib
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airut_common.config.models import TlsFiles
from airut_gateway_email.tls import CertificateStore


def _renew(certificate: Path, key_file: Path) -> bytes:
    """Write another certificate for localhost and its key; returns its DER form."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "airut.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made.public_bytes(serialization.Encoding.DER)


async def _served(port: int) -> bytes | None:
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=True, tls_context=careless)
    async with asyncio.timeout(20), client:
        encrypted = client.get_transport_info("ssl_object")
        assert isinstance(encrypted, ssl.SSLObject)
        return encrypted.getpeercert(binary_form=True)


async def test_a_renewed_certificate_needs_no_restart_and_a_broken_one_is_not_used(gateway, certificate):
    files, store = TlsFiles(certificate=certificate[0], key=certificate[1]), CertificateStore()
    gateway.tls_now = lambda: store.context(files)
    first = await _served(gateway.port)
    renewed = _renew(*certificate)
    assert first != renewed
    assert await _served(gateway.port) == renewed
    certificate[0].write_text("half of a certificate")
    assert await _served(gateway.port) == renewed
