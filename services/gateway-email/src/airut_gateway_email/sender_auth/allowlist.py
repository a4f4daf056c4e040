"""Pure: may this address give work to this repository?"""

from collections.abc import Sequence

from airut_mail_auth.addresses import Address, BadAddress, canonical_domain, parse_address


def matching_rule(author: Address, senders: Sequence[str]) -> str | None:
    """The first entry that names this address exactly, or its exact domain as `*@domain`; None when none does."""
    return next((rule for rule in senders if _matches(author, rule)), None)


def _matches(author: Address, rule: str) -> bool:
    try:
        if rule.startswith("*@"):
            return canonical_domain(rule[2:]) == author.domain
        return parse_address(rule) == author
    except BadAddress:
        return False  # an entry that is no address matches nobody
