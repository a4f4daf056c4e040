"""What every part of `airut.yaml` is made of."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
"""Secrets and credentials are named like the environment variables they become."""

HostPatternText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9*?._-]{1,253}$")]
"""A host name, perhaps with `*` and `?`."""

DomainName = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{1,63}$", to_lower=True)
]


def _require_network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"should be a network, such as 192.0.2.0/24 or 2001:db8::1 ({error})") from None
    return text


NetworkText = Annotated[str, AfterValidator(_require_network)]
"""An address, or a network in CIDR notation."""

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
"""What stays on this machine, so that it may go unencrypted."""


class StrictModel(BaseModel):
    """A frozen value in which every key is known and nothing is coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def beside(self, folder: Path) -> Self:
        """The same with its relative paths taken from a folder."""
        found = {name: _beside(value, folder) for name, value in self}
        return self.model_copy(update={name: found[name] for name, value in self if found[name] != value})


def _beside(value: object, folder: Path) -> object:
    match value:
        case Path():
            return folder / value
        case StrictModel():
            return value.beside(folder)
        case dict():
            return {key: _beside(one, folder) for key, one in value.items()}
    return value
