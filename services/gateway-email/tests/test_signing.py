"""Answers are signed so that our own verdict, and anybody else's, proves their domain."""

import base64
import subprocess
from datetime import UTC, datetime

import pytest

from airut_common.config.dkim import DkimConfig
from airut_common.secrets import Secret
from airut_common.testing.builders import email_route, reply
from airut_gateway_email.replies import AttachedFile, build_reply
from airut_gateway_email.signing import CannotSign, MailSigner
from airut_mail_auth import Envelope, Rules, verify_bytes
from airut_mail_auth.dns import DnsResolver
from airut_mail_auth.testing.zones import ZoneServer

CONFIG = DkimConfig(domain="airut.example", selector="a1", key_secret="DKIM_KEY")
KINDS = {
    "rsa": (["rsa", "-pkeyopt", "rsa_keygen_bits:2048"], "v=DKIM1; p={}"),
    "ed25519": (["ed25519"], "v=DKIM1; k=ed25519; p={}"),
}


def _openssl(*words: str, given: str = "") -> str:
    return subprocess.run(["openssl", *words], input=given, capture_output=True, text=True, check=True).stdout


def _public(key: str, kind: str) -> str:
    """As it stands in a key record; for Ed25519 the bare key (RFC 8463 §4), the last 32 bytes of the structure."""
    encoded = "".join(_openssl("pkey", "-pubout", given=key).splitlines()[1:-1])
    return base64.b64encode(base64.b64decode(encoded)[-32:]).decode() if kind == "ed25519" else encoded


def _signer(key: str | None, config: DkimConfig | None = CONFIG) -> MailSigner:
    return MailSigner(lambda: config, lambda name: Secret(key) if key and name == "DKIM_KEY" else None)


def _mail(sender: str = "demo@airut.example"):
    files = [AttachedFile("ä.bin", "application/octet-stream", bytes(range(256)) * 40)]
    answer = reply(route=email_route(from_address=sender), created_at=datetime.now(UTC))
    return build_reply(answer, "airut.example", files, [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sender", ["demo@airut.example", "demo@team.airut.example"])
async def test_a_signed_answer_is_proven(zone: ZoneServer, resolver: DnsResolver, kind: str, sender: str):
    options, record = KINDS[kind]
    key = _openssl("genpkey", "-algorithm", *options)
    public = _public(key, kind)
    zone.texts("a1._domainkey.airut.example", record.format(public))
    zone.texts("_dmarc.airut.example", "v=DMARC1; p=reject")
    signed, now = _signer(key).sign(_mail(sender)), datetime.now(UTC)
    found = await verify_bytes(
        signed.data, Envelope("192.0.2.1", "x.invalid", ""), resolver, Rules(), now=now
    )
    assert (found.verdict, found.author) == ("proven", sender), found.explanation
    changed = signed.data.replace(b"Subject: Re:", b"Subject: No:")
    assert changed != signed.data
    found = await verify_bytes(changed, Envelope("192.0.2.1", "x.invalid", ""), resolver, Rules(), now=now)
    assert found.verdict == "refused"


@pytest.mark.parametrize("sender", ["demo@other.example", "demo@notairut.example"])
def test_other_domains_are_not_signed_for(sender: str):
    mail = _mail(sender)
    assert _signer(None).sign(mail) is mail
    assert _signer(None, None).sign(mail) is mail


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (None, "the secret DKIM_KEY is not set"),
        ("x", "no private key in PEM"),
        (["rsa", "-pkeyopt", "rsa_keygen_bits:1024"], "2048 bits at least"),
        (["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "Ed25519"),
        (["ed25519", "-aes256", "-pass", "pass:x"], "without a password"),
    ],
)
def test_unfit_keys_are_explained(key: str | list[str] | None, says: str):
    made = _openssl("genpkey", "-algorithm", *key) if isinstance(key, list) else key
    with pytest.raises(CannotSign, match=says):
        _signer(made).sign(_mail())
