"""Signed mails and the mailbox, with dkimpy and aiosmtplib as the other side."""

import asyncio
import email
import email.policy

import dkim
import pytest

from airut_demo.world.dns_zones import domain_records
from airut_demo.world.mail_user import SELECTOR, Mailbox, SigningDomain, compose, send, serve_mailbox

ADA = "ada@lovelace.example"


@pytest.fixture(scope="module")
def domain() -> SigningDomain:
    return SigningDomain("lovelace.example")


def _verify(mail: bytes, domain: SigningDomain) -> bool:
    records = domain_records(domain.domain, dkim_selector=SELECTOR, dkim_record=domain.record)

    def texts(name: bytes, timeout: int = 5) -> bytes | None:
        found = records.get((name.decode().rstrip("."), "TXT"))
        return found[0].encode() if found else None

    return dkim.verify(mail, dnsfunc=texts)


def test_a_signed_mail_verifies_against_the_published_record(domain: SigningDomain) -> None:
    signed = domain.sign(
        compose(
            sender=f"Ada <{ADA}>",
            recipient="demo@airut.example",
            subject="Grüße",
            text="Hello\n.\nfrom a line\n",
            attachments={"a.txt": b"x" * 3000},
            in_reply_to="<1@airut.example>",
        )
    )
    assert _verify(signed, domain)
    for before, after in ((b"Hello", b"Hullo"), (b"From: Ada", b"From: Eve")):
        assert not _verify(signed.replace(before, after, 1), domain)


def test_a_mail_that_names_another_author_cannot_be_signed_for_her(domain: SigningDomain) -> None:
    forged = SigningDomain("mallory.example").sign(
        compose(sender=ADA, recipient="demo@airut.example", subject="x", text="y")
    )
    assert not _verify(forged, domain)


def test_a_reply_keeps_its_thread() -> None:
    mail = email.message_from_bytes(
        compose(
            sender=ADA,
            recipient="demo@airut.example",
            subject="Re: x",
            text="y",
            in_reply_to="<2@airut.example>",
            references="<1@lovelace.example> <2@airut.example>",
        ),
        policy=email.policy.default,
    )
    assert mail["In-Reply-To"] == "<2@airut.example>"
    assert mail["References"] == "<1@lovelace.example> <2@airut.example>"
    assert mail["Message-ID"].endswith("@lovelace.example>")


async def test_the_mailbox_gives_what_came_and_what_comes() -> None:
    mailbox = Mailbox()
    async with serve_mailbox(mailbox) as address:
        for subject in ("first", "second"):
            mail = compose(sender="x@airut.example", recipient=ADA, subject=subject, text=".dot\näöü\n")
            await send(mail, server=address, sender="x@airut.example", recipient=ADA)
        found = await mailbox.wait_for(lambda message: message["Subject"] == "second", timeout_seconds=10)
        assert found.get_content().splitlines() == [".dot", "äöü"]

        waiting = asyncio.ensure_future(
            mailbox.wait_for(lambda message: message["Subject"] == "third", timeout_seconds=10)
        )
        await asyncio.sleep(0)
        mail = compose(sender="x@airut.example", recipient=ADA, subject="third", text="z")
        await send(mail, server=address, sender="x@airut.example", recipient=ADA)
        assert (await waiting)["Subject"] == "third"
        with pytest.raises(TimeoutError):
            await mailbox.wait_for(lambda _: False, timeout_seconds=0.05)
