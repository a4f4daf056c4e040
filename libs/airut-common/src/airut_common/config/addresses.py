"""Which addresses are ours, and which may write to them."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, StringConstraints

MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s<>\"]+@[^@\s<>\"*]+$", to_lower=True)]
SenderPattern = Annotated[str, StringConstraints(pattern=r"^([^@\s<>\"*]+|\*)@[^@\s<>\"*]+$", to_lower=True)]
"""An exact address, or `*@domain` for everybody of exactly that domain."""


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
