"""S/MIME as OpenSSL writes it, OpenPGP by the letter of its RFCs."""

import base64
import subprocess
from email.message import EmailMessage
from pathlib import Path

import pytest
from asn1crypto.cms import ContentInfo

from airut_gateway_email.content.mail import IncomingMail, read_mail
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.rawmail import parse_raw_mail
from airut_gateway_email.testing.certificates import write_certificate
from airut_mail_auth.testing.signing import plain_mail

INNER = b"Content-Type: text/plain; charset=utf-8\r\n\r\nFix the greeting.\r\n"
HEAD = b"From: ada@lovelace.example\r\nTo: demo@airut.example\r\nMIME-Version: 1.0\r\n"


def _read(data: bytes) -> IncomingMail:
    return read_mail(parse_raw_mail(data))


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("smime")
    write_certificate(folder / "c.pem", folder / "k.pem")

    def cms(*options: str) -> bytes:
        signer = ["-signer", "c.pem", "-inkey", "k.pem"] if "-sign" in options else []
        last = ["c.pem"] if "-encrypt" in options else []
        done = subprocess.run(
            ["openssl", "cms", *options, *signer, "-outform", "SMIME", *last],
            cwd=folder, input=INNER, capture_output=True, check=True,
        )  # fmt: skip
        head = b"".join(line + b"\r\n" for line in HEAD.splitlines()[:2])
        return head + b"\r\n".join(done.stdout.splitlines()) + b"\r\n"

    return cms


@pytest.mark.parametrize("options", [["-sign"], ["-sign", "-nodetach"], ["-sign", "-nodetach", "-stream"]])
def test_what_was_signed_is_read(openssl, options: list[str]):
    mail = _read(openssl(*options))
    assert (mail.text, mail.attachments) == ("Fix the greeting.", ())


def test_s_mime_encrypted_mail_is_refused(openssl):
    with pytest.raises(MailRefused, match="encrypted") as caught:
        _read(openssl("-encrypt", "-aes256"))
    assert (caught.value.code, caught.value.status) == (554, "5.7.5")


@pytest.mark.parametrize("body", [b"", b"x", b"MAA=", b"MIAAAA==", b"MIAwgDCA" * 5000])
def test_a_broken_container_is_refused(body: bytes):
    head = HEAD + b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    with pytest.raises(MailRefused, match="cannot be decoded"):
        _read(head + body + b"\r\n")


def test_containers_in_containers_end():
    data = b"Content-Type: text/plain\r\n\r\nx"
    for _ in range(30):
        signed = {
            "version": "v1",
            "digest_algorithms": [],
            "encap_content_info": {"content_type": "data", "content": data},
            "signer_infos": [],
        }
        body = base64.encodebytes(ContentInfo({"content_type": "signed_data", "content": signed}).dump())
        head = b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        data = head + body.replace(b"\n", b"\r\n")
    with pytest.raises(MailRefused, match="nested too deeply"):
        _read(HEAD + data)


def test_openpgp_encrypted_mail_is_refused():
    kind = b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=x\r\n\r\n'
    parts = (
        b"--x\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
        b"--x\r\nContent-Type: application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n--x--\r\n"
    )
    for data in (HEAD + kind + parts, HEAD + b"\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA\r\n"):
        with pytest.raises(MailRefused, match="encrypted"):
            _read(data)


def test_openpgp_signed_in_place_is_read():
    text = (
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nFix it.\n- -- not a signature\n- - a dash\n"
        "-----BEGIN PGP SIGNATURE-----\n\niQ\n-----END PGP SIGNATURE-----\n"
    )
    assert _read(plain_mail(text).as_bytes()).text == "Fix it.\n-- not a signature\n- a dash"


def test_an_encrypted_file_is_a_file():
    message: EmailMessage = plain_mail("Unpack this.\n")
    message.add_attachment(b"\x01", maintype="application", subtype="pkcs7-mime", filename="x.p7m")
    message.add_attachment("-----BEGIN PGP MESSAGE-----\n", filename="x.asc")
    assert [file.name for file in _read(message.as_bytes()).attachments] == ["x.p7m", "x.asc"]
