"""Pure: the address a mail was sent to -> the repository it is for, and a model hint."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import getaddresses

from airut_common.config.models import RepoConfig
from airut_common.contracts.v1 import EmailRoute
from airut_mail_auth.addresses import Address, BadAddress, parse_address

MAX_LISTED = 16 * 1024
"""Characters of To or Cc: some hundred addresses. The standard library's time is quadratic."""
type _Known = Mapping[Address, tuple[str, str]]
"""Which repository has an address, and how that is spelt in its configuration."""

_HINT = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


@dataclass(frozen=True)
class Recipient:
    """A repository as somebody addressed it."""

    repo: str
    address: str
    """Which of the repository's own addresses, without sub-address."""
    model: str | None = None
    """From `local+hint@domain`; only our own recipient address can carry it (row 69)."""


def find_recipient(text: str, repos: Mapping[str, RepoConfig]) -> Recipient | None:
    """The one repository that has this address; None when there is none."""
    try:
        wanted = parse_address(text)
    except BadAddress:
        return None
    return _find(wanted, _by_address(repos))


def listed_recipients(value: str, repos: Mapping[str, RepoConfig]) -> Iterator[Recipient]:
    """The repositories in a To or Cc header, in order."""
    known = _by_address(
        repos
    )  # once: a header may have a thousand addresses, and there may be a hundred repositories
    for address in listed_addresses(value):
        found = _find(address, known)
        if found is not None:
            yield found


def _find(wanted: Address, known: _Known) -> Recipient | None:
    for base, hint in _readings(wanted):
        if base in known:
            repo, address = known[base]
            return Recipient(repo, address, hint)
    return None


def _by_address(repos: Mapping[str, RepoConfig]) -> _Known:
    """The first one, should two have an address. What is no address is nobody's."""
    known: dict[Address, tuple[str, str]] = {}
    for repo, config in repos.items():
        for address in config.address:
            with contextlib.suppress(BadAddress):
                known.setdefault(parse_address(address), (repo, address))
    return known


def listed_addresses(value: str) -> Iterator[Address]:
    """The plain addresses in a To or Cc header; none of one that is too long or too deeply nested to be read."""
    if len(value) > MAX_LISTED:
        return
    try:
        found = getaddresses([value])
    except RecursionError:
        return
    for _, text in found:
        if text in value:  # not put together from pieces with space or comments between them
            with contextlib.suppress(BadAddress):
                yield parse_address(text)


def answered_from(route: EmailRoute, addresses: Sequence[str]) -> EmailRoute:
    """The route of an answer. One that would come from an address that has been taken out of the configuration comes
    from the first of the repository's: what the person replies would be refused there."""
    if not addresses or route.from_address in addresses:
        return route
    return route.model_copy(update={"from_address": addresses[0]})


def is_ours(address: Address, repos: Iterable[RepoConfig]) -> bool:
    """Whether an address, with or without sub-address, belongs to a repository."""
    known = _by_address({str(number): config for number, config in enumerate(repos)})
    return any(base in known for base, _ in _readings(address))


def _readings(address: Address) -> list[tuple[Address, str | None]]:
    """The address itself first, then without each possible sub-address."""
    readings: list[tuple[Address, str | None]] = [(address, None)]
    for index, character in enumerate(address.local):
        hint = address.local[index + 1 :]
        if character == "+" and index and _HINT.fullmatch(hint):
            readings.append((Address(address.local[:index], address.domain), hint))
    return readings
