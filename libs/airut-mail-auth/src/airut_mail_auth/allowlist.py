"""Pure: does an entry of a sender list mean this address?"""

from airut_mail_auth.addresses import Address, BadAddress, canonical_domain, parse_address


def allows(pattern: str, author: Address) -> bool:
    """Whether a pattern names this address exactly, or its exact domain as `*@domain`."""
    try:
        if pattern.startswith("*@"):
            return canonical_domain(pattern[2:]) == author.domain
        return parse_address(pattern) == author
    except BadAddress:
        return False  # an entry that is no address matches nobody
