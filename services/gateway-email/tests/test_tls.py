"""A renewed certificate is used by the next connection; a broken one changes nothing."""

import asyncio
import ssl

import aiosmtplib

from airut_common.config.models import TlsFiles
from airut_gateway_email.testing.certificates import write_certificate
from airut_gateway_email.tls import CertificateStore


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
    renewed = write_certificate(*certificate)
    assert first != renewed
    assert await _served(gateway.port) == renewed
    certificate[0].write_text("half of a certificate")
    assert await _served(gateway.port) == renewed
