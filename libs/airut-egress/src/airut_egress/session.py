"""One sandbox's network: its policy, names and credentials, its open connections, its totals."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from airut_common.config.models import MaskedCredential
from airut_common.contracts.v1 import EgressEvent, EgressTag, utc_now
from airut_common.secrets import Secret

from .budget import Sent, UploadLimits
from .credentials import MaskedEntry, surrogate, unusable
from .dns import SyntheticNames
from .events import EventSink
from .policy import Policy
from .scrub import Needle, needles_of
from .starts import Starts

Decided = Literal["allow", "deny", "error", "info"]
_MAX_TEXT = 2048
_MAX_KNOWN_HOSTS = 1024
_MAX_STRIPPED = 16
_MAX_NAME = 64


class UnusableCredential(ValueError):
    """A credential that could never be put in under the session's policy; one sentence for each."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A masked credential with its value."""

    name: str
    """Also the environment variable that holds the surrogate."""
    config: MaskedCredential
    value: Secret


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a sandbox may do. Nothing in it comes from the sandbox."""

    sandbox: str
    task: str
    repo: str
    policy: str
    """Text of the allowlist."""
    policy_source: str = ".airut/network-allowlist.yaml"
    """How messages call the file."""
    credentials: Sequence[Credential] = ()


@dataclass(slots=True)
class Totals:
    """What went through a session."""

    requests: int = 0
    denied: int = 0
    """Requests and connections that were refused."""
    bytes_out: int = 0
    bytes_in: int = 0


class Abortable(Protocol):
    """An open connection of a session."""

    def abort(self, reason: str) -> None:
        """Cut it at once."""


@dataclass(slots=True, eq=False)
class Session:
    """A sandbox's network while it is open. Its identity is the sockets it listens on (field notes 32)."""

    config: SessionConfig
    policy: Policy
    entries: tuple[MaskedEntry, ...]
    environment: dict[str, str]
    sink: EventSink = field(repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    names: SyntheticNames = field(default_factory=SyntheticNames)
    totals: Totals = field(default_factory=Totals)
    connections: set[Abortable] = field(default_factory=set)
    starts: Starts = field(default_factory=Starts, repr=False)
    upload_limits: UploadLimits = field(default_factory=UploadLimits)
    sent: Sent = field(default_factory=Sent)
    upstreams: int = 0
    """Connections to upstreams, open or being opened."""
    collected: int = 0
    """Bytes of inspected bodies that are held in memory."""
    generation: int = 0
    """Grows when policy or credentials change; connections of an older one are cut (field notes 33)."""
    closed: bool = False
    opened_at: float = field(default_factory=time.monotonic)
    _sequence: int = 0
    _needles: dict[str, tuple[Needle, ...]] = field(default_factory=dict, repr=False)

    def replace(self, config: SessionConfig, policy: Policy, entries: tuple[MaskedEntry, ...]) -> None:
        """Work by another policy or other credentials from now on."""
        self.config, self.policy, self.entries = config, policy, entries
        self.generation += 1
        self._needles.clear()
        self.cut("the session's rules have changed")

    def needles_for(self, host: str) -> tuple[Needle, ...]:
        """What no answer of an allowed host may carry: the credentials that may go there."""
        found = self._needles.get(host)
        if found is None:
            if len(self._needles) >= _MAX_KNOWN_HOSTS:
                self._needles.clear()
            found = needles_of(entry.swap for entry in self.entries if entry.covers(host))
            self._needles[host] = found
        return found

    def replace_credentials(self, credentials: Sequence[Credential], installation_key: bytes) -> None:
        """Put other values behind the surrogates that the sandbox holds.

        Raises:
            airut_egress.credentials.BadCredential: a value cannot be masked.
        """
        config = replace(self.config, credentials=tuple(credentials))
        if config.credentials == self.config.credentials:
            return
        entries = _entries(config, installation_key, self.environment)
        given = {entry.name for entry in entries}
        # Without a scope a surrogate is still known, and refused wherever it stands.
        revoked = tuple(replace(entry, scopes=()) for entry in self.entries if entry.name not in given)
        self.replace(config, self.policy, entries + revoked)

    def may_send(self, host: str, size: int) -> bool:
        """Whether so many more bytes may go to a canonical host (field notes 22)."""
        return not self.upload_limits.limits or self.sent.has_room(self.upload_limits, host, size)

    def count_sent(self, host: str, size: int) -> None:
        """Count bytes that go to a canonical host."""
        if self.upload_limits.limits:
            self.sent.add(self.upload_limits, host, size)

    def cut(self, reason: str) -> None:
        """Cut every open connection."""
        for connection in tuple(self.connections):
            connection.abort(reason)

    def record(
        self,
        kind: Literal["request", "dns", "connection", "session"],
        decision: Decided,
        reason: str,
        *,
        request: int | None = None,
        method: str = "",
        scheme: str = "",
        host: str = "",
        port: int | None = None,
        path: str = "",
        status: int | None = None,
        credentials: tuple[str, ...] = (),
        stripped: tuple[str, ...] = (),
        tags: tuple[EgressTag, ...] = (),
        bytes_out: int = 0,
        bytes_in: int = 0,
        duration_ms: float | None = None,
    ) -> None:
        """Count something and hand its event to the sink. Texts from the sandbox are cut here."""
        if kind == "request" and decision != "info":
            self.totals.requests += 1
        if decision == "deny" and kind != "dns":
            self.totals.denied += 1
        if kind != "session":
            self.totals.bytes_out += bytes_out
            self.totals.bytes_in += bytes_in
        event = EgressEvent(
            kind=kind,
            repo=self.config.repo,
            sandbox=self.config.sandbox,
            task=self.config.task,
            at=utc_now(),
            seq=self._sequence,
            decision=decision,
            reason=reason[:_MAX_TEXT],
            request=request,
            method=method[:32],
            scheme=scheme,
            host=host[:255],
            port=port,
            path=path[:_MAX_TEXT],
            status=status,
            credentials=credentials,
            stripped=tuple(name[:_MAX_NAME] for name in stripped[:_MAX_STRIPPED]),
            tags=tags,
            bytes_out=bytes_out,
            bytes_in=bytes_in,
            duration_ms=duration_ms,
        )
        self._sequence += 1
        self.sink.record(event)


def build_entries(
    config: SessionConfig, policy: Policy, installation_key: bytes, held: Mapping[str, str]
) -> tuple[MaskedEntry, ...]:
    """The session's credentials, ready to be applied. `held`: surrogates that the sandbox has already.

    Raises:
        airut_egress.credentials.BadCredential: one cannot be masked.
        UnusableCredential: one could never be used, so that the sandbox would run without it (field notes 27).
    """
    entries = tuple(
        MaskedEntry.build(
            credential.name,
            credential.config,
            credential.value,
            held.get(credential.name)
            or surrogate(installation_key, config.sandbox, credential.name, credential.value.reveal()),
        )
        for credential in config.credentials
    )
    if problems := unusable(policy, entries):
        raise UnusableCredential("; ".join(problems))
    return entries


def _entries(
    config: SessionConfig, installation_key: bytes, held: Mapping[str, str]
) -> tuple[MaskedEntry, ...]:
    def stand_in(credential: Credential) -> str:
        value = credential.value.reveal()
        return held.get(credential.name) or surrogate(
            installation_key, config.sandbox, credential.name, value
        )

    return tuple(
        MaskedEntry.build(credential.name, credential.config, credential.value, stand_in(credential))
        for credential in config.credentials
    )
