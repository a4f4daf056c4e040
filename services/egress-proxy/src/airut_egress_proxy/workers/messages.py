"""What the service and its workers say to each other.

Real credentials are in `Open` and `Replace`: these texts exist on the socket between the two processes alone.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from airut_common.config.credentials import CredentialConfig
from airut_common.config.yamlfile import Problem
from airut_common.contracts.v1 import Identifier, RepoId
from airut_common.secrets import Secret
from airut_common.settings import LogFormat
from airut_egress.engine import EngineSettings
from airut_egress.entries import Credential
from airut_egress.progress import Continuation, Progress, Totals
from airut_egress.session import SessionConfig

Name = Annotated[str, StringConstraints(max_length=253)]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WireCredential(_Said):
    """A credential with its values in the clear."""

    name: str
    config: CredentialConfig
    values: dict[str, str] = Field(repr=False)

    @classmethod
    def of(cls, credential: Credential) -> Self:
        """For the way."""
        values = {name: value.reveal() for name, value in credential.values.items()}
        return cls(name=credential.name, config=credential.config, values=values)

    def unwrap(self) -> Credential:
        """At the end of the way."""
        return Credential(self.name, self.config, {name: Secret(text) for name, text in self.values.items()})


class Start(_Said):
    """The first question: what an engine needs."""

    kind: Literal["start"] = "start"
    settings: EngineSettings
    installation_key: str = Field(repr=False)
    """In hexadecimal."""
    state_dir: Path
    log_format: LogFormat
    log_level: str


class Open(_Said):
    """Open a session, or give an open one other rules."""

    kind: Literal["open"] = "open"
    sandbox: Identifier
    task: Identifier
    repo: RepoId
    policy: str
    policy_source: str
    credentials: tuple[WireCredential, ...] = Field(repr=False)
    after: Continuation

    @classmethod
    def of(cls, config: SessionConfig, after: Continuation) -> Self:
        """For the way."""
        return cls(
            sandbox=config.sandbox,
            task=config.task,
            repo=config.repo,
            policy=config.policy,
            policy_source=config.policy_source,
            credentials=wrap(config.credentials),
            after=after,
        )

    def unwrap(self) -> SessionConfig:
        """At the end of the way."""
        return SessionConfig(
            sandbox=self.sandbox,
            task=self.task,
            repo=self.repo,
            policy=self.policy,
            policy_source=self.policy_source,
            credentials=unwrap(self.credentials),
        )


class Attach(_Said):
    """Listen on the two or three sockets that come with this."""

    kind: Literal["attach"] = "attach"
    token: str = Field(repr=False)


class Replace(_Said):
    """Put other values behind a session's surrogates."""

    kind: Literal["replace"] = "replace"
    sandbox: Identifier
    credentials: tuple[WireCredential, ...] = Field(repr=False)


class ReplacePolicy(_Said):
    """Use another allowlist in an open session."""

    kind: Literal["replace-policy"] = "replace-policy"
    sandbox: Identifier
    policy: str
    policy_source: str


class Reconfigure(_Said):
    """Reach the world by other settings."""

    kind: Literal["reconfigure"] = "reconfigure"
    settings: EngineSettings


class Close(_Said):
    """Close a session."""

    kind: Literal["close"] = "close"
    sandbox: Identifier


class Ping(_Said):
    """Are you there?"""

    kind: Literal["ping"] = "ping"


Ask = Annotated[
    Start | Open | Attach | ReplacePolicy | Replace | Reconfigure | Close | Ping, Field(discriminator="kind")
]


class Question(_Said):
    """Service to worker."""

    number: int
    ask: Ask


class Failure(_Said):
    """Why something was not done."""

    kind: Literal["policy", "unusable", "credential", "token", "value", "os", "internal"]
    text: str
    problems: tuple[Problem, ...] = ()
    """Of a policy."""


class Answer(_Said):
    """Worker to service, with the number of its question. What the question changed is in force."""

    number: int
    failure: Failure | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    """On `open`."""
    ca_certificate: str = ""
    """On `open`."""
    totals: Totals = Field(default_factory=Totals)
    """On `close`."""


class Moved(_Said):
    """How far a session has got since the last batch of events."""

    sandbox: Identifier
    progress: Progress | None = None
    """None: it is over, and only lost events are told."""
    names_from: int = Field(default=0, ge=0)
    names: tuple[Name, ...] = ()
    """All that were given addresses, from that number on."""
    dropped: int = 0
    """Events that found no room."""


class BatchHead(_Said):
    """The first line of a batch. Each other line is an event: its sandbox, its number, its JSON."""

    moved: tuple[Moved, ...] = ()
    connections: int = 0
    """Open in this worker."""


def wrap(credentials: Iterable[Credential]) -> tuple[WireCredential, ...]:
    """For the way."""
    return tuple(WireCredential.of(credential) for credential in credentials)


def unwrap(credentials: Sequence[WireCredential]) -> tuple[Credential, ...]:
    """At the end of the way."""
    return tuple(credential.unwrap() for credential in credentials)
