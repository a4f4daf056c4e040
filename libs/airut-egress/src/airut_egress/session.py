"""One sandbox's network: its policy, names and credentials, its open connections, its totals."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from airut_common.contracts.v1 import EgressEvent, EgressTag, utc_now

from .budget import Sent, UploadLimits
from .bursts import Bursts, Kind
from .dns import SyntheticNames
from .entries import Credential, Entries, Surrogates
from .events import EventSink
from .pace import Pace, Rates
from .policy import Policy
from .progress import Continuation, Progress, Totals
from .scrub import Needle, needles_of
from .starts import Starts
from .turns import Turns

Decided = Literal["allow", "deny", "error", "info"]
_MAX_TEXT = 2048
_MAX_KNOWN_HOSTS = 1024
_MAX_STRIPPED = 16
_MAX_NAME = 64


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


class Abortable(Protocol):
    """An open connection of a session."""

    def abort(self, reason: str) -> None:
        """Cut it at once."""


@dataclass(slots=True, eq=False)
class Session:
    """A sandbox's network while it is open. Its identity is the sockets it listens on (field notes 32)."""

    config: SessionConfig
    policy: Policy
    entries: Entries
    environment: dict[str, str]
    sink: EventSink = field(repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    names: SyntheticNames = field(default_factory=SyntheticNames)
    totals: Totals = field(default_factory=Totals)
    connections: set[Abortable] = field(default_factory=set)
    starts: Starts = field(default_factory=Starts, repr=False)
    upload_limits: UploadLimits = field(default_factory=UploadLimits)
    sent: Sent = field(default_factory=Sent)
    pace: Pace = field(default_factory=lambda: Pace(Turns(), Rates()), repr=False)
    bursts: Bursts = field(init=False, repr=False)
    """Takes what happens to connections that never became a request."""
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

    def __post_init__(self) -> None:
        self.bursts = Bursts(self._record_burst)

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self._sequence, self.starts.begun, replace(self.totals), dict(self.sent.by_pattern))

    def go_on(self, after: Continuation) -> None:
        """Be the same to the sandbox as an earlier one, and count on from there."""
        self.token = after.token
        self._sequence = after.progress.events
        self.starts.begun = after.progress.requests
        self.totals = replace(after.progress.totals)
        self.sent.by_pattern.update(after.progress.sent)
        for name in after.names:
            self.names.address_for(name)

    def replace(self, config: SessionConfig, policy: Policy, entries: Entries) -> None:
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
            found = needles_of(self.entries.swaps(host))
            self._needles[host] = found
        return found

    async def get_tokens(self, host: str) -> None:
        """Get the tokens of the moment of the GitHub Apps whose tokens may go to a canonical host."""
        for app in self.entries.apps:
            if app.covers(host) and await app.refresh():
                self._needles.clear()

    def replace_credentials(self, credentials: Sequence[Credential], surrogates: Surrogates) -> None:
        """Put other values behind the surrogates that the sandbox holds.

        Raises:
            airut_egress.credentials.BadCredential: a value cannot be masked.
        """
        config = replace(self.config, credentials=tuple(credentials))
        if config.credentials == self.config.credentials:
            return
        self.replace(config, self.policy, Entries.build(credentials, surrogates).revoking(self.entries))

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

    def note_connection(self, decision: Decided, reason: str, *, host: str, port: int) -> None:
        """Record what became of a connection; many of one kind are an event and a count."""
        self.bursts.note(Kind(decision, reason, host, port))

    def _record_burst(self, kind: Kind, more: int) -> None:
        reason = kind.reason if more == 1 else f"{kind.reason}: {more} more"
        if kind.decision == "deny":
            self.totals.denied += more - 1
        self.record("connection", kind.decision, reason, host=kind.host, port=kind.port)

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
