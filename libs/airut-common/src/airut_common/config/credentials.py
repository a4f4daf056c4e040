"""The shape of a repository's credentials in `airut.yaml`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag

from airut_common.config.base import SecretName, StrictModel

Scope = Annotated[str, StringConstraints(pattern=r"^[^\s/:@]+$")]
Scopes = Annotated[tuple[Scope, ...], Field(min_length=1)]
"""Host patterns where a real value may go; names may be international."""
GithubName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
PermissionName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")]
ClientId = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    StringConstraints(pattern=r"^[A-Za-z0-9.]{1,64}$"),
]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[^\s?#@]+$")]


class MaskedCredential(StrictModel):
    """A value that the egress-proxy puts in place of its surrogate."""

    type: Literal["masked"] = "masked"
    scopes: Scopes
    headers: Annotated[tuple[str, ...], Field(min_length=1)] = ("authorization",)
    """Header name patterns; exact names are credential headers, globs only scan."""
    allow_foreign_credentials: bool = False

    def secret_names(self, name: str) -> tuple[str, ...]:
        """The secrets that the credential of this name is made of; each is a variable in the sandbox as well."""
        return (name,)


class SigningCredential(StrictModel):
    """An AWS access key, under whose surrogate the sandbox signs; the egress-proxy signs anew (SigV4, SigV4A).

    The credential is named after the variable of the access key id.
    """

    type: Literal["aws-sigv4"]
    scopes: Scopes
    secret_key: SecretName = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 (a name)
    """The variable, and secret, of the secret access key."""
    session_token: SecretName | None = None
    """The same for the token of temporary credentials; None when the key has none."""
    services: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Signing names, such as `s3`; None for all."""
    regions: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """None for all; each region of a SigV4A region set has to be among them."""
    allow_foreign_credentials: bool = False

    def secret_names(self, name: str) -> tuple[str, ...]:
        """Key id, secret key and, if there is one, session token."""
        token = () if self.session_token is None else (self.session_token,)
        return (name, self.secret_key, *token)


class GithubAppCredential(StrictModel):
    """A GitHub App, whose secret is its private key; the sandbox has the surrogate of an installation token."""

    type: Literal["github-app"]
    scopes: Scopes
    headers: Annotated[tuple[str, ...], Field(min_length=1)] = ("authorization",)
    app_id: ClientId
    """The App's id, or its client id."""
    installation_id: Annotated[int, Field(gt=0)]
    permissions: (
        Annotated[dict[PermissionName, Literal["read", "write", "admin"]], Field(min_length=1)] | None
    ) = None
    """None for all that the installation has."""
    repositories: Annotated[tuple[GithubName, ...], Field(min_length=1)] | None = None
    """Names without their owner; None for all that the installation has."""
    base_url: HttpsUrl = "https://api.github.com"
    """Of the REST API; `https://HOST/api/v3` for GitHub Enterprise Server."""
    allow_foreign_credentials: bool = False

    def secret_names(self, name: str) -> tuple[str, ...]:
        """The private key goes by the credential's name."""
        return (name,)


def _type_of(value: Any) -> str:
    found = value.get("type", "masked") if isinstance(value, Mapping) else getattr(value, "type", "masked")
    return found if isinstance(found, str) else ""


CredentialConfig = Annotated[
    Annotated[MaskedCredential, Tag("masked")]
    | Annotated[SigningCredential, Tag("aws-sigv4")]
    | Annotated[GithubAppCredential, Tag("github-app")],
    Discriminator(_type_of),
]
"""A credential of any type; without `type` it is a masked one."""
