"""Field notes 30: the authority's key stays private, leaves are for one name and backdated."""

import contextlib
import datetime
import multiprocessing
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL

from airut_egress.authority import Authority


def leaf_of(authority: Authority, host: str) -> x509.Certificate:
    """What a client is shown, from a handshake in memory."""
    server, client = (
        SSL.Connection(authority.context_for(host)),
        SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD)),
    )
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    certificate = client.get_peer_certificate()
    assert certificate is not None
    return certificate.to_cryptography()


def test_the_key_is_private_and_kept(tmp_path: Path) -> None:
    first = Authority.load_or_create(tmp_path / "ca")
    second = Authority.load_or_create(tmp_path / "ca")
    assert first.certificate_pem == second.certificate_pem
    assert "PRIVATE" not in first.certificate_pem
    for file in (tmp_path / "ca").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


def _make(folder: Path) -> str:
    return Authority.load_or_create(folder).certificate_pem


def test_two_that_begin_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        made = pool.map(_make, [tmp_path / "ca"] * 4)
    assert len(set(made)) == 1
    assert len(list((tmp_path / "ca").iterdir())) == 1


@pytest.mark.parametrize("content", ["", "nonsense", "key of another"])
def test_files_that_are_not_an_authority_are_not_used(tmp_path: Path, content: str) -> None:
    Authority.load_or_create(tmp_path / "ca")
    other = Authority.load_or_create(tmp_path / "other")
    file = next((tmp_path / "ca").iterdir())
    if content == "key of another":
        key = file.read_text().partition("-----BEGIN CERTIFICATE")[0]
        content = key + other.certificate_pem
    file.write_text(content)
    with pytest.raises(ValueError):
        Authority.load_or_create(tmp_path / "ca")


@pytest.mark.parametrize(
    "host", ["api.example.test", "xn--mnchen-3ya.test", "_dmarc.example.test", "a" * 60 + ".example.test"]
)
def test_a_leaf_is_for_one_name(tmp_path: Path, host: str) -> None:
    authority = Authority.load_or_create(tmp_path)
    leaf = leaf_of(authority, host)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [host]
    now = datetime.datetime.now(datetime.UTC)
    assert leaf.not_valid_before_utc < now - datetime.timedelta(days=1)
    assert now + datetime.timedelta(days=7) < leaf.not_valid_after_utc < now + datetime.timedelta(days=200)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_strict_verifiers_accept_the_chain(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    (tmp_path / "ca.pem").write_text(authority.certificate_pem)
    from cryptography.hazmat.primitives.serialization import Encoding

    (tmp_path / "leaf.pem").write_bytes(leaf_of(authority, "api.example.test").public_bytes(Encoding.PEM))
    subprocess.run(
        [
            "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "api.example.test",
            "-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / "leaf.pem"),
        ],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    assert ssl.create_default_context(cadata=authority.certificate_pem)


def test_contexts_are_kept_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airut_egress.authority._MAX_CONTEXTS", 3)
    authority = Authority.load_or_create(tmp_path)
    first = authority.context_for("a.test")
    assert authority.context_for("a.test") is first
    for name in ("b.test", "c.test", "d.test"):
        authority.context_for(name)
    assert len(authority._contexts) == 3
    assert authority.context_for("a.test") is not first
