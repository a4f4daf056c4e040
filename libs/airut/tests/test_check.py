"""What `airut check` says of the configuration; `libs/airut-sandbox` tests what it says of the host."""

from pathlib import Path

import trustme

from airut.check import file_findings, tls_findings
from airut_common.config.models import EmailConfig, InstallationConfig, RelayConfig, TlsFiles


def _findings(certificate: Path, key: Path) -> list[tuple[str, str, str]]:
    email = EmailConfig(
        hostname="airut.example",
        tls=TlsFiles(certificate=certificate, key=key),
        relay=RelayConfig(host="mail.example"),
    )
    config = InstallationConfig(email=email)
    return [(each.name, each.status, each.detail) for each in (*file_findings(config), *tls_findings(config))]


def _write(certificate: Path, key: Path) -> None:
    issued = trustme.CA().issue_cert("mail.airut.example")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)


def test_a_certificate_that_can_be_used(tmp_path: Path) -> None:
    files = tmp_path / "mail.crt", tmp_path / "mail.key"
    _write(*files)
    assert _findings(*files) == [("email.tls", "ok", f"{files[0]} and its key can be used")]


def test_each_file_that_cannot_be_used_is_told_once(tmp_path: Path) -> None:
    certificate, key = tmp_path / "mail.crt", tmp_path / "mail.key"
    assert _findings(certificate, key) == [
        ("email.tls.certificate", "fail", f"{certificate} cannot be read: No such file or directory"),
        ("email.tls.key", "fail", f"{key} cannot be read: No such file or directory"),
    ]
    _write(certificate, key)
    key.write_text("no key\n")
    assert _findings(certificate, key) == [("email.tls.key", "fail", f"{key} holds nothing in PEM")]


def test_a_key_of_another_certificate_is_told_of_both(tmp_path: Path) -> None:
    files = tmp_path / "mail.crt", tmp_path / "mail.key"
    _write(*files)
    _write(tmp_path / "other.crt", files[1])
    [(name, status, detail)] = _findings(*files)
    assert (name, status) == ("email.tls", "fail")
    assert "key values mismatch" in detail


def test_no_certificate_is_nothing_to_look_at() -> None:
    assert not list(tls_findings(InstallationConfig()))
