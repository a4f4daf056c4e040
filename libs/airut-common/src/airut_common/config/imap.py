"""`email.imap`: a mailbox that mail is fetched from."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from airut_common.config.base import LOOPBACK_HOSTS, SecretName, StrictModel

Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,300}$")]
TenantName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,253}$")]

_MICROSOFT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
_GOOGLE = "https://oauth2.googleapis.com/token"


class OAuth2Config(StrictModel):
    """Access tokens instead of a password."""

    provider: Literal["microsoft", "google"]
    tenant: TenantName | None = None
    """Microsoft's directory: its id or one of its domains."""
    client_id: Line
    client_secret: SecretName | None = None
    """The secret with the client's secret."""
    refresh_token_secret: SecretName | None = None
    """The secret with a refresh token. None: the application signs in for itself (client credentials, Microsoft)."""
    token_url: Line | None = None
    """Where tokens are had instead, as in a national cloud. https, or http on loopback."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.provider == "microsoft") != (self.tenant is not None):
            raise ValueError("tenant belongs to provider: microsoft, and has to be given there")
        if self.refresh_token_secret is None and (self.provider != "microsoft" or self.client_secret is None):
            raise ValueError(
                "refresh_token_secret is missing; only provider: microsoft with a client_secret can do without"
            )
        if self.provider == "google" and self.client_secret is None:
            raise ValueError("provider: google needs a client_secret")
        url = urlsplit(self.token_url or _GOOGLE)
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in LOOPBACK_HOSTS):
            raise ValueError("token_url: must be https, or http on a loopback host")
        return self

    @property
    def endpoint(self) -> str:
        """The URL of the token endpoint."""
        default = _GOOGLE if self.provider == "google" else _MICROSOFT.format(tenant=self.tenant)
        return self.token_url or default


class ImapConfig(StrictModel):
    """A mailbox that is emptied into tasks."""

    host: Line
    port: Annotated[int, Field(ge=1, le=65535)] = 993
    security: Literal["tls", "starttls", "plain"] = "tls"
    """`plain` is accepted for loopback addresses only."""
    ca_file: Path | None = None
    """Trust these authorities instead of the system's."""
    username: Line
    password_secret: SecretName | None = None
    oauth2: OAuth2Config | None = None
    folder: Line = "INBOX"
    after: Literal["delete", "move"] = "delete"
    """What becomes of a mail whose request is stored."""
    done_folder: Line = "Airut/done"
    """Where `after: move` puts it; `/` stands for the server's own separator."""
    refused_folder: Line = "Airut/refused"
    """Where mails go that will never be a task."""
    poll_seconds: Annotated[int, Field(ge=1, le=1500)] = 60
    """The folder is looked at so often at least, also where the server announces mail (IDLE)."""

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if self.security == "plain" and self.host not in LOOPBACK_HOSTS:
            raise ValueError("security: plain is accepted for a loopback host only; use tls or starttls")
        if (self.password_secret is None) == (self.oauth2 is None):
            raise ValueError("give either password_secret or oauth2")
        # A folder that mails are moved to and fetched from would be a loop.
        if len({name.casefold() for name in (self.folder, self.done_folder, self.refused_folder)}) < 3:
            raise ValueError("folder, done_folder and refused_folder must be three different folders")
        return self

    def secret_names(self) -> dict[str, str]:
        """The secrets it asks for, by the field that names them."""
        named = {"password_secret": self.password_secret}
        if self.oauth2 is not None:
            named["oauth2.client_secret"] = self.oauth2.client_secret
            named["oauth2.refresh_token_secret"] = self.oauth2.refresh_token_secret
        return {field: name for field, name in named.items() if name is not None}
