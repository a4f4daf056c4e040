"""TLS: our certificate, read again when its files change (renewals need no restart), and how we verify others'."""

import ssl
from pathlib import Path

import structlog

from airut_common.config.models import TlsFiles

log = structlog.get_logger()


def verifying_context(ca_file: Path | None) -> ssl.SSLContext:
    """How a server that we connect to is verified: by the system's authorities, or by those of the file.

    Raises:
        OSError: the file cannot be used (`ssl.SSLError` is one).
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class CertificateStore:
    """Keeps the last good context."""

    def __init__(self) -> None:
        self._key: object = None
        self._context: ssl.SSLContext | None = None

    def context(self, files: TlsFiles | None) -> ssl.SSLContext | None:
        """The context for these files; None without files. Broken files keep what was there before.

        Raises:
            OSError: the files cannot be read, and none were good before (`ssl.SSLError` is one).
        """
        if files is None:
            self._key = self._context = None
            return None
        try:
            key = (files, files.certificate.stat().st_mtime_ns, files.key.stat().st_mtime_ns)
            if key != self._key:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                context.load_cert_chain(files.certificate, files.key)
                self._key, self._context = key, context
        except OSError as error:
            if self._context is None:
                raise
            log.error("certificate_unusable", reason=str(error), certificate=str(files.certificate))
        return self._context
