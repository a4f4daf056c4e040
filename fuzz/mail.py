"""Fuzzing of who sent a mail, and of what it says."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from airut_gateway_email.content.mail import read_mail
from airut_gateway_email.content.quotes import LEFT_OUT, new_text
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.rawmail import parse_raw_mail
from airut_mail_auth import Address, Envelope, Rules, verify_bytes
from airut_mail_auth.addresses import BadAddress, parse_address, parse_from
from airut_mail_auth.authres.grammar import BadResults, parse_results
from airut_mail_auth.authres.trusted import dmarc_result


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
