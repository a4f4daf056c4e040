"""A session's credentials, ready to be applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

from airut_common.config.credentials import (
    CredentialConfig,
    GithubAppCredential,
    MaskedCredential,
    SigningCredential,
)
from airut_common.secrets import Secret

from .credentials import MaskedEntry, surrogate, unusable
from .github_app import AppEntry, Installations, token_surrogate
from .policy import Policy
from .signing import SigningEntry
from .swap import Swap


class UnusableCredential(ValueError):
    """A credential that could never be put in under the session's policy; one sentence for each."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential of the configuration with its values."""

    name: str
    """Also the environment variable that holds the surrogate."""
    config: CredentialConfig
    values: Mapping[str, Secret]
    """By the names that `config.secret_names` tells."""


@dataclass(frozen=True, slots=True)
class Surrogates:
    """Where the surrogates of one sandbox come from."""

    installation_key: bytes = field(repr=False)
    sandbox: str
    held: Mapping[str, str]
    """What the sandbox has already, by name; it stays."""
    installations: Installations

    def of(self, name: str, value: Secret) -> str:
        """The stand-in for a value.

        Raises:
            airut_egress.credentials.BadCredential: it cannot be masked.
        """
        return self.held.get(name) or self.same_shape(name, value.reveal())

    def of_token(self, name: str) -> str:
        """The stand-in for a GitHub App's tokens, none of which may exist yet."""
        return self.held.get(name) or token_surrogate(self.installation_key, self.sandbox, name)

    def same_shape(self, name: str, value: str) -> str:
        """Of the same length as the value, whatever the sandbox holds."""
        return surrogate(self.installation_key, self.sandbox, name, value)


@dataclass(frozen=True, slots=True)
class Entries:
    """All that a session may use, and all whose surrogates its sandbox holds."""

    masked: tuple[MaskedEntry, ...] = ()
    """Parts of access keys and what was revoked are among them: known, and put in nowhere."""
    signing: tuple[SigningEntry, ...] = ()
    apps: tuple[AppEntry, ...] = ()

    @classmethod
    def build(cls, credentials: Sequence[Credential], surrogates: Surrogates) -> Self:
        """Put rules, values and surrogates together.

        Raises:
            airut_egress.credentials.BadCredential: one cannot be masked.
        """
        masked: list[MaskedEntry] = []
        signing: list[SigningEntry] = []
        apps: list[AppEntry] = []
        for credential in credentials:
            name, values = credential.name, credential.values
            match credential.config:
                case MaskedCredential() as config:
                    masked.append(
                        MaskedEntry.build(name, config, values[name], surrogates.of(name, values[name]))
                    )
                case SigningCredential() as config:
                    stand_ins = {part: surrogates.of(part, value) for part, value in values.items()}
                    masked += [
                        MaskedEntry.part(part, config, value, stand_ins[part])
                        for part, value in values.items()
                    ]
                    signing.append(SigningEntry.build(name, config, values, stand_ins))
                case GithubAppCredential() as config:
                    apps.append(_app(name, config, values[name], surrogates))
        return cls(tuple(masked), tuple(signing), tuple(apps))

    def all(self) -> Sequence[MaskedEntry]:
        """Everything that is looked for in headers."""
        return (*self.masked, *(app.entry for app in self.apps)) if self.apps else self.masked

    def environment(self) -> dict[str, str]:
        """Variable to surrogate."""
        return {entry.name: entry.surrogate for entry in self.all()}

    def missing_token(self, host: str) -> str:
        """Why a token for a canonical host could not be obtained; empty when none is missing."""
        return next(
            (f"{app.name}: {app.problem}" for app in self.apps if app.covers(host) and app.token is None), ""
        )

    def swaps(self, host: str) -> list[Swap]:
        """What no answer of an allowed host may carry, and what stands there instead."""
        found = [entry.swap for entry in self.masked if entry.covers(host)]
        return found + [swap for app in self.apps if app.covers(host) for swap in app.recent]

    def revoking(self, earlier: "Entries") -> "Entries":
        """The same, with what was there earlier and is gone still known: without a scope a surrogate is refused
        wherever it stands."""
        given = {entry.name for entry in self.all()}
        gone = tuple(replace(entry, scopes=()) for entry in earlier.all() if entry.name not in given)
        return replace(self, masked=self.masked + gone)

    def check_usable(self, policy: Policy) -> None:
        """Make sure that each could be put in somewhere.

        Raises:
            UnusableCredential: the sandbox would run without it (field notes 27).
        """
        parts = {entry.name for entry in self.signing}
        # What was taken away has no scopes, and is not meant to be put in.
        held = [entry for entry in self.masked if entry.scopes]
        whole = [entry for entry in held if entry.exact or entry.globs or entry.name in parts]
        if problems := unusable(policy, [*whole, *(app.entry for app in self.apps)]):
            raise UnusableCredential("; ".join(problems))


def _app(name: str, config: GithubAppCredential, key: Secret, surrogates: Surrogates) -> AppEntry:
    return AppEntry(
        name,
        config,
        surrogates.installations.tokens(config, key),
        stand_in=surrogates.of_token(name),
        same_shape=partial(surrogates.same_shape, name),
    )
