"""Pure: the address a mail was sent to -> the repository it is for, and a model hint."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from airut_common.config.models import RepoConfig
from airut_mail_auth.addresses import Address, BadAddress, parse_address

_HINT = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


@dataclass(frozen=True)
class Recipient:
    """A repository as somebody addressed it."""

    repo: str
    address: str
    """The repository's own address, without sub-address."""
    model: str | None = None
    """From `local+hint@domain`; only our own recipient address can carry it (row 69)."""


def find_recipient(text: str, repos: Mapping[str, RepoConfig]) -> Recipient | None:
    """The one repository with this address; None when there is none."""
    try:
        wanted = parse_address(text)
    except BadAddress:
        return None
    for base, hint in _readings(wanted):
        for repo, config in repos.items():
            if same_address(base, config.address):
                return Recipient(repo, config.address, hint)
    return None


def same_address(one: Address, other: str) -> bool:
    """Whether two spellings mean the same mailbox; false for what is no address."""
    try:
        return parse_address(other) == one
    except BadAddress:
        return False


def is_ours(address: Address, repos: Iterable[RepoConfig]) -> bool:
    """Whether an address, with or without sub-address, belongs to a repository."""
    return any(same_address(base, config.address) for config in repos for base, _ in _readings(address))


def _readings(address: Address) -> list[tuple[Address, str | None]]:
    """The address itself first, then without each possible sub-address."""
    readings: list[tuple[Address, str | None]] = [(address, None)]
    for index, character in enumerate(address.local):
        hint = address.local[index + 1 :]
        if character == "+" and index and _HINT.fullmatch(hint):
            readings.append((Address(address.local[:index], address.domain), hint))
    return readings
