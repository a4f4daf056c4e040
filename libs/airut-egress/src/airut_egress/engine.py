"""The engine: opens a network for a sandbox, takes the sockets made inside of it, closes it again."""

import hmac
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from .authority import Authority
from .budget import UploadLimits
from .destination import DestinationLookup, original_destination
from .entries import Credential, Entries, Surrogates
from .events import EventSink
from .github_app import Installations
from .interception.handler import Means
from .listener import SandboxListener
from .pace import Pace, Rates
from .policy import parse_policy
from .ports import STANDARD_PORTS, Scheme
from .progress import Continuation, Totals
from .resolver import Resolver
from .session import Session, SessionConfig
from .turns import Turns
from .upstream_tls import UpstreamTls

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine reaches the world."""

    resolver: str | None = None
    """`host:port` of the DNS server for upstream names; None uses the system's."""
    allow_networks: Sequence[str] = ()
    connect_to: Mapping[str, str] = field(default_factory=dict)
    ca_file: Path | None = None
    """Authorities to trust besides the system's."""
    ports: Mapping[int, Scheme] = field(default_factory=dict)
    """Ports to open besides 80 and 443."""
    upload_limits: Mapping[str, int] = field(default_factory=dict)
    """Host pattern to the bytes that one sandbox may send to the hosts that fit."""
    max_connections: int = 256
    """Open connections of one sandbox."""
    rates: Rates = field(default_factory=Rates)
    """Of one sandbox."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a sandbox gets."""

    sandbox: str
    token: str
    """Shows `attach` which session the sockets belong to."""
    environment: Mapping[str, str]
    """Variable to surrogate."""
    ca_certificate: str
    """PEM."""


class UnknownToken(Exception):
    """No open session has this token."""


class Engine:
    """One for a process. All methods belong to one event loop."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        sink: EventSink,
        installation_key: bytes,
        state_dir: Path,
        lookup: DestinationLookup = original_destination,
    ) -> None:
        """Args:
        sink: gets every event.
        installation_key: surrogates are derived from it; the same after a restart.
        state_dir: holds the certificate authority; 0700.
        lookup: tells where an accepted connection was meant to go.

        Raises:
            ValueError: an address, a network or the CA file in the settings cannot be used.
            OSError: the folder cannot be used.
        """
        self._authority = Authority.load_or_create(state_dir / "ca")
        self._sink = sink
        self._installation_key = installation_key
        self._lookup = lookup
        self._sessions: dict[str, Session] = {}
        self._listeners: dict[str, SandboxListener] = {}
        self._settings = settings
        self._upload_limits = UploadLimits.parse(settings.upload_limits)
        self._turns = Turns()
        self._means = self._make_means(settings)
        self._installations = Installations(self._means.resolver, settings.ca_file)

    @property
    def ca_certificate(self) -> str:
        """What sandboxes trust, PEM."""
        return self._authority.certificate_pem

    @property
    def sessions(self) -> Mapping[str, Session]:
        """Open sessions by sandbox."""
        return self._sessions

    def reconfigure(self, settings: EngineSettings) -> None:
        """Reach the world by other settings from now on; limits hold for open sessions too.

        Raises:
            ValueError: they cannot be used; the old ones stay.
        """
        upload_limits = UploadLimits.parse(settings.upload_limits)
        means = self._make_means(settings)
        self._installations.use(means.resolver, settings.ca_file)
        self._means, self._settings = means, settings
        self._upload_limits = upload_limits
        for session in self._sessions.values():
            session.upload_limits = upload_limits
            session.pace.use(settings.rates)
        for listener in self._listeners.values():
            listener.use(self._means, max_connections=settings.max_connections)

    def open(self, config: SessionConfig, *, after: Continuation | None = None) -> Opened:
        """Open a session. Opening an open one again replaces its rules and keeps its surrogates; if the rules
        differ, its connections are cut. `after`: what a new session goes on from.

        Raises:
            airut_common.config.yamlfile.ConfigError: the policy does not validate.
            airut_egress.credentials.BadCredential: a credential cannot be masked.
            airut_egress.entries.UnusableCredential: a credential could never be used.
        """
        policy = parse_policy(config.policy, config.policy_source)
        known = self._sessions.get(config.sandbox)
        held = known.environment if known is not None else after.environment if after is not None else {}
        entries = Entries.build(config.credentials, self._surrogates(config.sandbox, held))
        restored = known is None and bool(held)
        # What goes on was checked before, and what it was opened with may have been taken away.
        if not restored:
            entries.check_usable(policy)
        environment = entries.environment()
        if known is None:
            known = Session(
                config,
                policy,
                entries,
                environment,
                self._sink,
                upload_limits=self._upload_limits,
                pace=Pace(self._turns, self._settings.rates),
            )
            if after is not None:
                known.go_on(after)
            self._sessions[config.sandbox] = known
            resumed = after is not None and after.progress.events > 0
            known.record("session", "info", "resumed" if resumed else "opened")
        elif known.config != config:
            known.environment = environment
            known.replace(config, policy, entries)
        return Opened(config.sandbox, known.token, environment, self.ca_certificate)

    async def attach(
        self, token: str, tcp: socket.socket, udp: socket.socket, tcp6: socket.socket | None = None
    ) -> None:
        """Listen on sockets that were made inside a sandbox; they replace those of an earlier attachment. What
        comes in on `tcp6` is refused and recorded.

        Raises:
            UnknownToken: no open session has this token; the sockets stay open.
            OSError: the sockets cannot be used.
        """
        session = self._by_token(token)
        if session is None:
            raise UnknownToken("no open session has this token")
        sandbox = session.config.sandbox
        if (old := self._listeners.pop(sandbox, None)) is not None:
            await old.close()
        listener = SandboxListener(
            session, self._means, lookup=self._lookup, max_connections=self._settings.max_connections
        )
        await listener.start(tcp, udp, tcp6)
        self._listeners[sandbox] = listener
        session.record("session", "info", "attached")

    def replace_policy(self, sandbox: str, policy: str, source: str) -> None:
        """Use another allowlist in an open session; if it differs, its connections are cut.

        Raises:
            KeyError: it is not open.
            airut_common.config.yamlfile.ConfigError: the policy does not validate; the old one stays.
            airut_egress.entries.UnusableCredential: a credential could never be used under it; the old one stays.
        """
        session = self._sessions[sandbox]
        parsed = parse_policy(policy, source)
        session.entries.check_usable(parsed)
        config = replace(session.config, policy=policy, policy_source=source)
        if config != session.config:
            session.replace(config, parsed, session.entries)

    def replace_credentials(self, sandbox: str, credentials: Sequence[Credential]) -> None:
        """Use other values for an open session's credentials; one that is left out is worth nothing from now on.

        Raises:
            airut_egress.credentials.BadCredential: a value cannot be masked; the old ones stay.
        """
        session = self._sessions[sandbox]
        session.replace_credentials(credentials, self._surrogates(sandbox, session.environment))

    async def close(self, sandbox: str) -> Totals:
        """Close a session: listeners and connections end, surrogates are worth nothing. Closing one that is not
        open gives zeros."""
        session = self._sessions.pop(sandbox, None)
        if session is None:
            return Totals()
        session.closed = True
        if (listener := self._listeners.pop(sandbox, None)) is not None:
            await listener.close()
        totals = session.totals
        session.record("session", "info", "closed", bytes_out=totals.bytes_out, bytes_in=totals.bytes_in)
        return totals

    async def close_all(self) -> None:
        """Close every session."""
        for sandbox in tuple(self._sessions):
            await self.close(sandbox)
        await self._installations.close()

    def _surrogates(self, sandbox: str, held: Mapping[str, str]) -> Surrogates:
        return Surrogates(self._installation_key, sandbox, held, self._installations)

    def _by_token(self, token: str) -> Session | None:
        given = token.encode()
        found = None
        for session in self._sessions.values():
            if hmac.compare_digest(session.token.encode(), given):
                found = session
        return found

    def _make_means(self, settings: EngineSettings) -> Means:
        return Means(
            authority=self._authority,
            upstream_tls=UpstreamTls(settings.ca_file),
            resolver=Resolver(
                server=settings.resolver,
                allow_networks=settings.allow_networks,
                connect_to=settings.connect_to,
            ),
            ports={**settings.ports, **STANDARD_PORTS},
        )
