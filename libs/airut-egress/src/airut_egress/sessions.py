"""Engines behind the messages of the bus: `OpenSession` in, `SessionOpened` or a refusal with its code out."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from airut_common.config.credentials import CredentialConfig
from airut_common.config.models import EgressConfig
from airut_common.config.yamlfile import ConfigError
from airut_common.contracts.v1 import (
    OpenedSession,
    OpenSession,
    PolicyReplaced,
    ReplacePolicy,
    SessionClosed,
    SessionOpened,
    SessionsListed,
)
from airut_common.secrets import Secret

from .attach_socket import AttachRefused, serve_attach_socket
from .credentials import BadCredential
from .engine import EngineSettings, UnknownToken
from .engines import Engines, EnginesUnavailable, Held
from .entries import Credential, UnusableCredential
from .inhabitants import inhabited_namespaces, namespace_of
from .pace import Rates
from .session import SessionConfig

Credentials = Mapping[str, tuple[CredentialConfig, Mapping[str, Secret]]]
"""Name to rule and values, by the names of the secrets."""

INVALID_POLICY: Final = "invalid_policy"
UNUSABLE_CREDENTIAL: Final = "unusable_credential"
UNAVAILABLE: Final = "unavailable"
NOT_OPEN: Final = "not_open"
PAGE: Final = 500
"""Sessions in one answer: below 400 bytes each, so that it stays well within a message of 1 MiB."""
_ATTACH_SECONDS: Final = 1800.0
"""Between the opening of a session and its attachment, an image may have to be built."""


class SessionRefused(Exception):
    """No network for this sandbox. `code` is stable, the text is for the person who waits."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class SandboxNetworks:
    """One for a process: sessions of sandboxes, and the Unix socket over which they are attached."""

    def __init__(self, engines: Engines, *, attach_socket: Path) -> None:
        """`attach_socket`: where the Unix socket is made."""
        self._engines = engines
        self._attach_socket = attach_socket
        self._namespaces: dict[str, int | None] = {}
        """Of attached sockets, by the token of their session."""
        self._suspects: set[str] = set()

    @property
    def sessions(self) -> Mapping[str, Held]:
        """By sandbox: open, or being opened."""
        return self._engines.sessions

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take sockets over while the context is open; all sessions are closed at its end."""
        try:
            async with serve_attach_socket(self._attach_socket, self._take):
                yield
        finally:
            await self._engines.close_all()

    async def open(self, request: OpenSession, credentials: Credentials) -> SessionOpened:
        """Open a session, or give an open one the rules of this request. The same sandbox gets the same surrogates.

        Raises:
            SessionRefused: the policy does not validate, a credential could never be used, or no engine answers.
        """
        config = SessionConfig(
            sandbox=request.sandbox,
            task=request.task,
            repo=request.repo,
            policy=request.policy,
            policy_source=request.policy_source,
            credentials=_listed(credentials),
        )
        with _refusals():
            opened = await self._engines.open(config)
        return SessionOpened(
            sandbox=opened.sandbox,
            attach_socket=str(self._attach_socket),
            attach_token=opened.token,
            environment=dict(opened.environment),
            ca_certificate=opened.ca_certificate,
        )

    async def replace_policy(self, request: ReplacePolicy) -> PolicyReplaced:
        """Give an open session another allowlist; everything else of it stays.

        Raises:
            SessionRefused: it is not open, the policy does not validate, a credential could never be used under it, or
                no engine answers. The old one stays.
        """
        with _refusals():
            try:
                await self._engines.replace_policy(request.sandbox, request.policy, request.policy_source)
            except KeyError:
                raise SessionRefused(NOT_OPEN, f"no session of sandbox {request.sandbox} is open") from None
        return PolicyReplaced(sandbox=request.sandbox)

    def page(self, after: str) -> SessionsListed:
        """The open sessions behind that id, in the order of their ids; as many as an answer holds."""
        behind = sorted(sandbox for sandbox in self.sessions if sandbox > after)
        return SessionsListed(
            sessions=tuple(self._shown(self.sessions[sandbox]) for sandbox in behind[:PAGE]),
            more=len(behind) > PAGE,
        )

    async def replace_credentials(self, sandbox: str, credentials: Credentials) -> None:
        """Use other values in an open session; the surrogates that the sandbox holds stay.

        Raises:
            BadCredential: a value cannot be masked; the old ones stay.
            EnginesUnavailable: it did not happen yet.
        """
        await self._engines.replace_credentials(sandbox, _listed(credentials))

    async def reconfigure(self, egress: EgressConfig) -> None:
        """Reach the world by other settings from now on.

        Raises:
            ValueError: they cannot be used; the old ones stay.
        """
        await self._engines.reconfigure(engine_settings(egress))

    async def close(self, sandbox: str) -> SessionClosed:
        """Close a session; closing one that is not open answers zeros."""
        if (session := self._engines.sessions.get(sandbox)) is not None:
            self._namespaces.pop(session.token, None)
        totals = await self._engines.close(sandbox)
        return SessionClosed(sandbox=sandbox, requests=totals.requests, denied=totals.denied)

    async def close_deserted(self) -> list[str]:
        """Close the sessions whose sandbox is gone, and those that nobody attached for long; tells which.

        A sandbox counts as gone when nobody was in its namespace at two calls in a row.
        """
        inhabited = await asyncio.to_thread(inhabited_namespaces)
        deserted = {name for name, session in self.sessions.items() if self._deserted(session, inhabited)}
        gone = sorted(deserted & self._suspects)
        self._suspects = deserted.difference(gone)
        for sandbox in gone:
            await self.close(sandbox)
        return gone

    def _deserted(self, session: Held, inhabited: frozenset[int]) -> bool:
        if session.token not in self._namespaces:
            return time.monotonic() - session.opened_at > _ATTACH_SECONDS
        namespace = self._namespaces[session.token]
        return namespace is not None and namespace not in inhabited

    def _shown(self, held: Held) -> OpenedSession:
        totals = held.progress.totals
        return OpenedSession(
            sandbox=held.config.sandbox,
            task=held.config.task,
            repo=held.config.repo,
            attached=held.token in self._namespaces,
            open_seconds=round(time.monotonic() - held.opened_at, 3),
            requests=totals.requests,
            denied=totals.denied,
            bytes_out=totals.bytes_out,
            bytes_in=totals.bytes_in,
        )

    async def _take(
        self, token: str, tcp: socket.socket, udp: socket.socket, tcp6: socket.socket | None = None
    ) -> None:
        namespace = namespace_of(tcp)
        try:
            await self._engines.attach(token, tcp, udp, tcp6)
        except (UnknownToken, EnginesUnavailable) as error:
            raise AttachRefused(str(error)) from None
        self._namespaces[token] = namespace


@contextmanager
def _refusals() -> Iterator[None]:
    """What an engine cannot do, with the code of the answer."""
    try:
        yield
    except ConfigError as error:
        raise SessionRefused(INVALID_POLICY, str(error)) from None
    except (UnusableCredential, BadCredential) as error:
        raise SessionRefused(UNUSABLE_CREDENTIAL, str(error)) from None
    except EnginesUnavailable as error:
        raise SessionRefused(UNAVAILABLE, str(error)) from None


def engine_settings(egress: EgressConfig) -> EngineSettings:
    """The part of an installation's configuration that the engine works by."""
    return EngineSettings(
        resolver=egress.resolver,
        allow_networks=egress.allow_networks,
        connect_to=egress.connect_to,
        ca_file=egress.ca_file,
        ports=egress.ports,
        upload_limits=egress.upload_limits,
        max_connections=egress.max_connections,
        rates=Rates(egress.max_requests_per_second, egress.max_bytes_per_second),
    )


def _listed(credentials: Credentials) -> tuple[Credential, ...]:
    return tuple(Credential(name, config, values) for name, (config, values) in credentials.items())
