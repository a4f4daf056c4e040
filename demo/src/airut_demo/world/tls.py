"""The world's certificate authority and the certificates of its hosts."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class HostFiles:
    """A host's certificate chain and key, as files."""

    certificate: Path
    key: Path


class WorldCa:
    """An authority that only this world trusts."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.file = folder / "world-ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, *names: str) -> HostFiles:
        """A certificate for these host names."""
        issued = self._ca.issue_cert(*names)
        files = HostFiles(self._folder / f"{names[0]}.crt", self._folder / f"{names[0]}.key")
        for index, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(str(files.certificate), append=index > 0)
        files.key.touch(mode=0o600)
        issued.private_key_pem.write_to_path(str(files.key))
        return files

    def client_context(self) -> ssl.SSLContext:
        """What a client needs to trust this world."""
        return ssl.create_default_context(cafile=str(self.file))
