"""What a chain of ARC sets is worth: only what a sealer says whom the operator named, under nobody else's later set."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airut_mail_auth.testing.crafting import Signer
from airut_mail_auth.testing.signing import plain_mail

PASS = "mx.lists.example; dmarc=pass header.from=lovelace.example"
FAIL = "mx.lists.example; dmarc=fail header.from=lovelace.example"
NOW = int(datetime.now(UTC).timestamp())


@cache
def _signer(domain: str) -> Signer:
    seed = domain.encode().ljust(32, b".")[:32]
    return Signer(domain, "arc", Ed25519PrivateKey.from_private_bytes(seed))


@pytest.fixture
def forwarded(zone, lovelace, judge) -> Callable[..., Awaitable[object]]:
    """A mail of Ada's whose signature got lost, with a set by each handler in turn."""

    async def forwarded(*handlers: tuple[str, str], at: int = NOW, sealers=("lists.example",), change=None):
        data = plain_mail().as_bytes()
        for domain, results in handlers:
            signer = _signer(domain)
            zone.texts(f"arc._domainkey.{domain}", signer.record)
            data = signer.arc(data, at=at, results=results)
        return await judge(change(data) if change else data, arc_sealers=sealers)

    return forwarded


async def test_a_believed_sealer_that_saw_a_pass_proves_the_author(forwarded):
    proof = await forwarded(("lists.example", PASS))
    assert proof.method == "arc"
    assert proof.detail == "dmarc=pass for lovelace.example seen by lists.example, chain of 1 valid"
    assert "subject" in proof.signed
    assert not proof.direct


async def test_the_sealer_nearest_to_us_need_not_be_the_one_that_saw_it(forwarded):
    sealers = ("lists.example", "forwarder.example")
    assert await forwarded(("lists.example", PASS), ("forwarder.example", FAIL), sealers=sealers)


async def test_what_came_before_a_believed_sealer_may_be_anybody(forwarded):
    assert await forwarded(("evil.example", FAIL), ("lists.example", PASS))


@pytest.mark.parametrize(
    ("handlers", "why"),
    [
        ([("evil.example", PASS)], "evil.example is not among the sealers"),
        ([("lists.example", PASS), ("evil.example", PASS)], "evil.example is not among the sealers"),
        ([("evil.example", PASS), ("lists.example", FAIL)], "evil.example is not among the sealers"),
        ([("lists.example", FAIL)], "no sealer that is believed saw"),
        ([("lists.example", "mx; dmarc=pass header.from=evil.example")], "no sealer"),
        ([("lists.example", "mx; dmarc=pass")], "no sealer"),
        ([("lists.example", "mx; dkim=pass header.d=lovelace.example")], "no sealer"),
        ([("lists.example", f"{PASS}; dmarc=fail header.from=lovelace.example")], "no sealer"),
        ([("lists.example", "mx; dmarc=bestguesspass header.from=lovelace.example")], "no sealer"),
        ([("lists.example", "(")], "no sealer"),
    ],
)
async def test_other_chains_prove_nothing(forwarded, refusal, handlers, why: str):
    assert why in await refusal(forwarded(*handlers))


async def test_without_named_sealers_no_chain_is_looked_at(forwarded, refusal, zone):
    assert "ARC" not in await refusal(forwarded(("lists.example", PASS), sealers=()))
    assert "arc._domainkey.lists.example TXT" not in zone.questions


async def test_a_sealer_that_nobody_named_costs_no_lookup(forwarded, refusal, zone):
    await refusal(forwarded(("evil.example", PASS)))
    assert "arc._domainkey.evil.example TXT" not in zone.questions


async def test_an_old_chain_is_a_replay(forwarded, refusal):
    week = int(timedelta(days=8).total_seconds())
    assert "more than 7 days ago" in await refusal(forwarded(("lists.example", PASS), at=NOW - week))


async def test_a_failing_dns_means_later(forwarded, deferral, zone):
    zone.fails.add("arc._domainkey.lists.example")
    await deferral(forwarded(("lists.example", PASS)))


async def test_results_cannot_be_moved_to_another_mail(forwarded, refusal):
    def changed(data: bytes) -> bytes:
        return data.replace(b"Please fix", b"Please rm", 1)

    assert "the body was changed" in await refusal(forwarded(("lists.example", PASS), change=changed))


async def test_the_policy_floor_holds_for_chains_too(forwarded, refusal, zone):
    zone.texts("_dmarc.lovelace.example", "v=DMARC1; p=none")
    assert "is none" in await refusal(forwarded(("lists.example", PASS)))


async def test_a_message_signature_of_another_domain_than_the_seal(zone, lovelace, judge, refusal):
    """The set of a believed sealer with a signature by somebody else."""
    signer = _signer("lists.example")
    zone.texts("arc._domainkey.lists.example", signer.record)
    zone.texts("arc._domainkey.evil.example", signer.record)
    data = signer.arc(plain_mail().as_bytes(), at=NOW, results=PASS, message_tags={"d": "evil.example"})
    assert "not among the sealers" in await refusal(judge(data, arc_sealers=("lists.example",)))


async def test_l_in_a_message_signature(zone, lovelace, judge, refusal):
    signer = _signer("lists.example")
    zone.texts("arc._domainkey.lists.example", signer.record)
    data = signer.arc(plain_mail().as_bytes(), at=NOW, results=PASS, message_tags={"l": "0"})
    await refusal(judge(data, arc_sealers=("lists.example",)))
