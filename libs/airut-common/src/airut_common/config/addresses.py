"""Which addresses are ours, and which may write to them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from airut_common.contracts.v1 import REPO_ID_PATTERN

MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s<>\"]+@[^@\s<>\"*]+$", to_lower=True)]
SenderPattern = Annotated[str, StringConstraints(pattern=r"^([^@\s<>\"*]+|\*)@[^@\s<>\"*]+$", to_lower=True)]
"""An exact address, or `*@domain` for everybody of exactly that domain."""
SenderEntry = Annotated[
    str,
    StringConstraints(pattern=rf"^(group:{REPO_ID_PATTERN}|([^@\s<>\"*:]+|\*)@[^@\s<>\"*]+)$", to_lower=True),
]
"""A sender pattern, or `group:NAME` for all of a group."""
GroupName = Annotated[str, StringConstraints(pattern=rf"^{REPO_ID_PATTERN}$")]

_GROUP = "group:"


@dataclass(frozen=True)
class SenderRule:
    """One pattern of those who may write, and where it stands."""

    pattern: str
    group: str | None = None
    """None: in the repository's own list."""

    def __str__(self) -> str:
        return self.pattern if self.group is None else f"{self.pattern} of group:{self.group}"


def named_group(entry: str) -> str | None:
    """The group that an entry of `senders` names; None for a pattern."""
    return entry.removeprefix(_GROUP) if entry.startswith(_GROUP) else None


def sender_rules(senders: Iterable[str], groups: Mapping[str, Iterable[str]]) -> Iterator[SenderRule]:
    """All patterns of a list, in order, those of a group where it is named. An unknown group allows nobody."""
    for entry in senders:
        group = named_group(entry)
        if group is None:
            yield SenderRule(entry)
        else:
            yield from (SenderRule(pattern, group) for pattern in groups.get(group, ()))


def same_mailbox(address: str) -> str:
    """A form in which two spellings of one address are equal."""
    local, _, domain = address.lower().rpartition("@")
    try:
        return f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        return f"{local}@{domain}"


def first_twice(addresses: Iterable[str]) -> str | None:
    """The first address that stands there a second time; None when there is none."""
    seen: set[str] = set()
    for address in addresses:
        if (mailbox := same_mailbox(address)) in seen:
            return address
        seen.add(mailbox)
    return None


def _one_is_a_list(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _each_once(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not addresses:
        raise ValueError("must not be empty")
    if (twice := first_twice(addresses)) is not None:
        raise ValueError(f"names {twice} twice")
    return addresses


Addresses = Annotated[tuple[MailAddress, ...], BeforeValidator(_one_is_a_list), AfterValidator(_each_once)]
"""One address, or a list of them."""
