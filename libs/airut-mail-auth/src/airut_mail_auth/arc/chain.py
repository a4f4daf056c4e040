"""Validation of a chain (RFC 8617 §5.2): the newest message signature, and every seal."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from airut_mail_auth.arc.sets import ArcSet, BadChain, read_sets, sealed_header
from airut_mail_auth.dkim.check import SignatureChecker
from airut_mail_auth.dkim.keys import BadKey
from airut_mail_auth.message import RawMail
from airut_mail_auth.record import Result
from airut_mail_auth.resolver import DnsTemporary
from airut_mail_auth.tags import decode_base64


@dataclass(frozen=True)
class Chain:
    """A chain and what it is worth."""

    result: Result
    """`none`, `pass`, `fail` or `temperror`; `neutral`: not validated, because its newest sealer is not believed."""
    detail: str
    sets: tuple[ArcSet, ...] = ()
    """Oldest first; empty when they cannot be read."""


async def validate_chain(
    mail: RawMail, checker: SignatureChecker, *, believed: Sequence[str] | None = None
) -> Chain:
    """Whether the ARC sets of a mail are whole. Says nothing about whether their makers deserve belief.

    Args:
        mail: The mail; its headers may be doubled.
        checker: For its signatures.
        believed: Stop without asking the DNS unless the newest seal is of one of these domains; None asks always.
    """
    try:
        sets = read_sets(mail)
    except BadChain as error:
        return Chain("fail", str(error))
    if not sets:
        return Chain("none", "the mail has no ARC set")
    newest = sets[-1]
    if believed is not None and not {newest.seal.domain, newest.message.domain} <= set(believed):
        return Chain("neutral", f"{newest.seal.domain} is not among the sealers that are believed", sets)
    result, detail, _ = await checker.check(sets[-1].message)
    if result != "pass":
        why = f"message signature {len(sets)} of {sets[-1].message.domain}: {detail}"
        return Chain("temperror" if result == "temperror" else "fail", why, sets)
    for count in range(len(sets), 0, -1):
        try:
            problem = await _seal_problem(sets[:count], checker)
        except DnsTemporary as error:
            return Chain("temperror", str(error), sets)
        if problem is not None:
            return Chain("fail", f"seal {count} of {sets[count - 1].seal.domain}: {problem}", sets)
    return Chain("pass", f"{len(sets)} sets", sets)


async def _seal_problem(sets: Sequence[ArcSet], checker: SignatureChecker) -> str | None:
    seal = sets[-1].seal
    try:
        key = await checker.key(seal)
    except BadKey as error:
        return str(error)
    signature = decode_base64(seal.tags["b"])
    valid = await asyncio.to_thread(lambda: key.verifies(signature, sealed_header(sets)))
    return None if valid else "the signature does not match"
