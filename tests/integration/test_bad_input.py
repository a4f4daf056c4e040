"""What comes in broken gets a clear answer, an event, and leaves the next task unharmed."""

import aiosmtplib
import pytest

from airut_demo.installation import ADDRESS
from airut_demo.world.mail_user import SigningDomain, compose, send
from airut_demo.world.world import USER

from .conftest import ALL, Site, bash, text_of

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


def mail(**overrides: str) -> bytes:
    return compose(**({"sender": USER, "recipient": ADDRESS, "subject": "x", "text": "hello"} | overrides))


def signed(site: Site, data: bytes) -> bytes:
    return site.world.domain.sign(data)


def two_from(site: Site) -> bytes:
    return signed(site, b"From: mallory@evil.example\r\n" + mail())


CASES = {
    "unsigned": (lambda site: mail(), USER, ADDRESS),
    "unaligned DKIM": (lambda site: SigningDomain("evil.example").sign(mail()), USER, ADDRESS),
    "two From headers": (two_from, USER, ADDRESS),
    "unlisted sender": (
        lambda site: signed(site, mail(sender="bob@lovelace.example")),
        "bob@lovelace.example",
        ADDRESS,
    ),
    "unknown recipient": (
        lambda site: signed(site, mail(recipient="nobody@airut.example")),
        USER,
        "nobody@airut.example",
    ),
    "empty mail": (lambda site: signed(site, mail(text="")), USER, ADDRESS),
    "an automatic answer": (
        lambda site: signed(site, b"Auto-Submitted: auto-replied\r\n" + mail()),
        USER,
        ADDRESS,
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_mail_that_is_refused_gets_a_code_and_a_reason(site: Site, case: str) -> None:
    make, sender, recipient = CASES[case]
    known = len(site.world.mailbox.messages)
    with pytest.raises((aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused)) as refusal:
        await send(make(site), server=site.installation.smtp, sender=sender, recipient=recipient)
    error = refusal.value
    code = error.code if isinstance(error, aiosmtplib.SMTPResponseException) else error.recipients[0].code
    assert 500 <= code < 600
    assert len(str(error)) > 20
    assert len(site.world.mailbox.messages) == known


async def test_the_domain_with_policy_none_is_refused_by_default(site: Site) -> None:
    domain = SigningDomain("lax.example")
    site.world.zones.add("demo._domainkey.lax.example", "TXT", domain.record)
    site.world.zones.add("_dmarc.lax.example", "TXT", "v=DMARC1; p=none")
    data = domain.sign(mail(sender="ada@lax.example"))
    with pytest.raises(aiosmtplib.SMTPResponseException):
        await send(data, server=site.installation.smtp, sender="ada@lax.example", recipient=ADDRESS)


REPOSITORY_FAULTS = [
    ({".airut/network-allowlist.yaml": "domains: '*.example.com'\n"}, ("network-allowlist.yaml:1", "list")),
    ({".airut/network-allowlist.yaml": "domain: [a.example]\n"}, ("network-allowlist.yaml:1", "domains")),
    ({".airut/container/Dockerfile": "FROM scratch\nRUN no-such-program\n"}, ("image", "could not be built")),
]


@pytest.mark.parametrize(("files", "words"), REPOSITORY_FAULTS)
async def test_a_broken_repository_is_explained_and_the_next_task_is_unharmed(
    site: Site, files: dict[str, str], words: tuple[str, ...], tmp_path
) -> None:
    import subprocess

    clone, bare = tmp_path / "clone", site.world.bare_repository

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], check=True, capture_output=True)

    git("clone", "-q", str(bare), str(clone))
    site.world.git.commit(clone, files, "Break it")
    git("-C", str(clone), "push", "-q", "origin", "main")
    try:
        text = text_of(await site.ask(bash("true"), ALL, subject="Broken repository"))
        for word in words:
            assert word in text
        assert "Traceback" not in text
    finally:
        git("-C", str(clone), "revert", "--no-edit", "HEAD")
        git("-C", str(clone), "push", "-q", "origin", "main")
    assert "fine" in text_of(await site.ask(bash("echo fine"), ALL, subject="Mended"))
