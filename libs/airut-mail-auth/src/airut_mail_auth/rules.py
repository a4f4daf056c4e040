"""What the operator wants to believe."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from airut_mail_auth.addresses import canonical_domain


class Rules(BaseModel):
    """Fixed for one mail. The names are those of `email.authentication` in `airut.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["native", "trusted-header"] = "native"
    """Decide here, or believe the header of the operator's own server."""
    allow_policy_none: bool = False
    """Accept an aligned pass of a domain whose DMARC policy is `none`."""
    arc_sealers: tuple[str, ...] = ()
    """Domains (`d=`) whose ARC seals are believed."""
    authserv_id: str | None = None
    """The name of the trusted server in its headers; `*.` in front stands for one label."""
    upstream: Literal["rfc8601", "microsoft-365"] = "rfc8601"
    """`microsoft-365` writes no name into its header."""
    peers: tuple[str, ...] = ()
    """Networks (CIDR) that the trusted server delivers from; empty: only a mailbox is believed."""

    @field_validator("arc_sealers")
    @classmethod
    def _sealers_are_domains(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(canonical_domain, names))  # a BadAddress is a ValueError

    @model_validator(mode="after")
    def _trusted_header_is_complete(self) -> Self:
        named = bool(self.authserv_id) == (self.upstream == "rfc8601")
        if self.mode == "trusted-header" and not named:
            raise ValueError(
                "mode: trusted-header needs authserv_id, or upstream: microsoft-365 in its place"
            )
        return self
