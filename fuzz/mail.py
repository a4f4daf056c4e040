"""Fuzzing of who sent a mail, and of what it says."""

import asyncio
import contextlib
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airut_common.config.models import GitConfig, RepoConfig
from airut_gateway_email.content.charsets import decode_words
from airut_gateway_email.content.mail import read_mail
from airut_gateway_email.content.quotes import LEFT_OUT, new_text
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.rawmail import parse_raw_mail
from airut_gateway_email.recipients import find_recipient, listed_addresses, listed_recipients
from airut_gateway_email.threads import MAX_REFERENCES, find_conversation, references_for_answer
from airut_mail_auth import Address, Envelope, Rules, verify_bytes
from airut_mail_auth.addresses import BadAddress, parse_address, parse_from
from airut_mail_auth.allowlist import allows
from airut_mail_auth.arc.chain import Chain, validate_chain
from airut_mail_auth.authres.grammar import BadResults, parse_results
from airut_mail_auth.authres.trusted import dmarc_result
from airut_mail_auth.dkim.check import SignatureChecker
from airut_mail_auth.message import SINGLETONS, BadMessage, parse_message, split_message
from airut_mail_auth.testing.sealing import Sealer


class _Zone:
    """Every domain has a strict policy, a key whose other half nobody has, and an SPF record that names no server."""

    async def texts(self, name: str) -> list[bytes]:
        if "._domainkey." in name:
            return [b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
        return [b"v=DMARC1; p=reject"] if name.startswith("_dmarc.") else [b"v=spf1 exists:%{l}.%{d} -all"]

    async def addresses(self, name: str, *, v6: bool) -> Sequence[IPv4Address | IPv6Address]:  # noqa: ARG002
        return ()

    async def mail_hosts(self, name: str) -> Sequence[str]:  # noqa: ARG002
        return ()

    async def pointers(self, address: IPv4Address | IPv6Address) -> Sequence[str]:  # noqa: ARG002
        return ()

    async def exists(self, name: str) -> bool:  # noqa: ARG002
        return False


_ZONE: Final = _Zone()
_SEALER: Final = Sealer("sealer.example", "s", Ed25519PrivateKey.from_private_bytes(bytes(32)))
_MAIL: Final = (
    b"From: ada@lovelace.example\r\nSubject: a\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\nbody\r\n"
)
_SEALED: Final = _SEALER.add(_MAIL)
_CONVERSATION: Final = "c" * 32
_REPOS: Final = {
    name: RepoConfig(address=(address,), senders=("a@b.example",), git=GitConfig(url="https://git.example/x"))
    for name, address in {"demo": "demo@airut.example", "book": "jörg@bücher.example"}.items()
}
_RUNNER: Final = asyncio.Runner()
_RULES: Final = Rules(arc_sealers=("lists.example",))
_AT: Final = datetime(2026, 11, 1, tzinfo=UTC)


def mail_author(data: bytes) -> None:
    """Nobody without a private key is proven to be anybody, whatever the mail and its envelope say."""
    sender = data[:60].decode("latin-1")
    judging = verify_bytes(data, Envelope("192.0.2.1", sender[:30], sender[30:]), _ZONE, _RULES, now=_AT)
    record = _RUNNER.run(judging)
    assert record.verdict == "refused", (data, record.explanation)
    assert record.proof is None
    with contextlib.suppress(BadAddress):
        author = parse_from(data.decode("latin-1"))
        assert isinstance(author, Address)
        assert parse_address(str(author)) == author


def mail_content(data: bytes) -> None:
    """A mail is read or refused; nothing invisible is read, and what is left of the text was in it."""
    try:
        mail = read_mail(parse_raw_mail(data))
    except MailRefused:
        return
    assert not set(mail.text) & set("\0\x1b\u200b\u202e")
    assert all(file.name and not set(file.name) & set("/\\\0\n") for file in mail.attachments), data
    said = new_text(mail.text, ["demo@airut.example"], continues=True)
    assert said.text.removesuffix(f"\n\n{LEFT_OUT}") in mail.text


def auth_results(data: bytes) -> None:
    """A result stands outside of comments, and is the only one of its method."""
    text = data.decode("latin-1")
    try:
        results = parse_results(text)
    except BadResults:
        return
    result, domain = dmarc_result(results)
    if result is None or '"' in text or "\\" in text:
        return  # the simple reading below knows no quoting
    depth, outside = 0, ""
    for character in text.lower():
        depth += (character == "(") - (character == ")")
        outside += "" if depth else character
    assert "dmarc" in outside, data
    assert result in outside, data
    assert domain is None or domain in outside, data


def mail_form(data: bytes) -> None:
    """What is a mail has lines that nobody reads otherwise, and each header that counts once."""
    try:
        mail = parse_message(data)
    except BadMessage:
        return
    assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
    names = [field.name for field in mail.fields]
    assert all(names.count(name) <= 1 for name in SINGLETONS), data
    assert names.count("from") == 1
    head = b"\r\n".join(field.raw for field in mail.fields)
    assert data.startswith(head), data
    body = b"".join(mail.body())
    assert body == data[len(head) :].partition(b"\r\n\r\n")[2] or not body
    for field in mail.fields:
        assert not set(field.value) & set("\0\r\n\x0b\x0c\x1b\x85\u2028"), data


def thread(data: bytes) -> None:
    """A conversation is continued only by an id or a tag that stands in the mail; an answer's ids are well formed."""
    text = data.replace(b"\x01", f"<airut.{_CONVERSATION}.a@airut.example>".encode())
    try:
        mail = parse_raw_mail(b"From: a@b.example\r\n" + text)
    except MailRefused:
        return
    found = find_conversation(mail, "airut.example")
    if found is not None:
        ids = f"{mail.first('in-reply-to')} {mail.first('references')}"
        subject = decode_words(mail.first("subject") or "")
        assert f"<airut.{found}." in ids or f"[airut:{found}]" in subject, data
    parent, chain = references_for_answer(mail)
    assert len(chain) == len(set(chain)) <= MAX_REFERENCES
    assert all(
        one.isascii() and one[0] == "<" and one[-1] == ">" and not set(one) & set(" \t\r\n") for one in chain
    )
    assert parent is None or parent in chain


def addresses(data: bytes) -> None:
    """Whoever is found, permitted or addressed stands in the text, letter by letter."""
    text = data.decode("utf-8", "surrogateescape")
    said = unicodedata.normalize("NFC", text).lower()
    for address in listed_addresses(text):
        assert address.local in said, data
    for found in (find_recipient(text, _REPOS), *listed_recipients(text, _REPOS)):
        assert found is None or found.address.partition("@")[0] in said, data
    try:
        author = parse_from(text)
    except BadAddress:
        return
    assert author.domain.isascii()
    assert author.local in said
    assert author.local.isascii() == text.rpartition("<")[2].rpartition("@")[0].isascii(), data
    for rule in ("ada@lovelace.example", "*@lovelace.example", "*@bücher.example"):
        if allows(rule, author):
            assert rule.partition("@")[0] in ("*", author.local), data
            assert author.domain in ("lovelace.example", "xn--bcher-kva.example"), data


def arc_chain(data: bytes) -> None:
    """Nobody adds to a chain or begins one without a key, and nothing put before a chain makes another one of it."""
    for mail in (data, data + _SEALED, data + b"\r\n" + _SEALED, _SEALED.replace(b"Subject: a", data, 1)):
        try:
            chain = _RUNNER.run(_validated(mail))
        except BadMessage:
            continue
        if chain.result == "pass":
            [only] = chain.sets
            assert _SEALED.startswith(only.seal.field.raw), data
            assert only.results.raw in _SEALED, data


async def _validated(data: bytes) -> Chain:
    async def texts(_name: str) -> list[bytes]:
        return [_SEALER.record.encode()]

    mail = split_message(data)
    return await validate_chain(mail, SignatureChecker(mail, texts))
