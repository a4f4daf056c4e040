"""What `airut check` says of the configuration; `libs/airut-sandbox` tests what it says of the host."""

from pathlib import Path

import trustme

from airut.check import tls_findings
from airut_common.config.models import EmailConfig, InstallationConfig, RelayConfig, TlsFiles


def _finding(certificate: Path, key: Path) -> tuple[str, str]:
    email = EmailConfig(
        hostname="airut.example",
        tls=TlsFiles(certificate=certificate, key=key),
        relay=RelayConfig(host="mail.example"),
    )
    (finding,) = tls_findings(InstallationConfig(email=email))
    assert finding.name == "email.tls"
    return finding.status, finding.detail


def _write(certificate: Path, key: Path) -> None:
    issued = trustme.CA().issue_cert("mail.airut.example")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)


def test_a_certificate_that_can_be_used(tmp_path: Path) -> None:
    files = tmp_path / "mail.crt", tmp_path / "mail.key"
    _write(*files)
    assert _finding(*files) == ("ok", f"{files[0]} and its key can be used")


def test_a_certificate_that_cannot(tmp_path: Path) -> None:
    files = tmp_path / "mail.crt", tmp_path / "mail.key"
    assert _finding(*files) == ("fail", f"[Errno 2] No such file or directory: '{files[0]}'")
    _write(*files)
    files[1].write_text("no key\n")
    assert _finding(*files)[0] == "fail"


def test_no_certificate_is_nothing_to_look_at() -> None:
    assert not list(tls_findings(InstallationConfig()))
