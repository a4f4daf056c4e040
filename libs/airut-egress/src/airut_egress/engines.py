"""What stands behind sessions: one engine in this process, or several in processes of their own."""

import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

from .engine import Engine, EngineSettings, Opened
from .entries import Credential
from .progress import Progress, Totals
from .session import SessionConfig


class EnginesUnavailable(Exception):
    """Nobody did it in time. Asking again later is worth it."""


class Held(Protocol):
    """What is known of a session by those who do not serve it."""

    @property
    def config(self) -> SessionConfig:
        """By which it was opened."""

    @property
    def token(self) -> str:
        """Shows `attach` which session sockets belong to."""

    @property
    def opened_at(self) -> float:
        """By the monotonic clock."""

    @property
    def progress(self) -> Progress:
        """How far it is, as far as is known."""


class Engines(Protocol):
    """Opens networks for sandboxes. What a call has changed is in force when it returns.

    All but `sessions` raise EnginesUnavailable.
    """

    @property
    def sessions(self) -> Mapping[str, Held]:
        """By sandbox: open, or being opened."""

    async def open(self, config: SessionConfig) -> Opened:
        """As `Engine.open`."""

    async def attach(
        self, token: str, tcp: socket.socket, udp: socket.socket, tcp6: socket.socket | None = None
    ) -> None:
        """As `Engine.attach`."""

    async def replace_policy(self, sandbox: str, policy: str, source: str) -> None:
        """As `Engine.replace_policy`."""

    async def replace_credentials(self, sandbox: str, credentials: Sequence[Credential]) -> None:
        """As `Engine.replace_credentials`; nothing happens to a session that is not open any more."""

    async def reconfigure(self, settings: EngineSettings) -> None:
        """As `Engine.reconfigure`."""

    async def close(self, sandbox: str) -> Totals:
        """As `Engine.close`."""

    async def close_all(self) -> None:
        """As `Engine.close_all`."""


class OneEngine:
    """The engine of this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def sessions(self) -> Mapping[str, Held]:
        """Open ones, by sandbox."""
        return self._engine.sessions

    async def open(self, config: SessionConfig) -> Opened:
        """See `Engine`."""
        return self._engine.open(config)

    async def attach(
        self, token: str, tcp: socket.socket, udp: socket.socket, tcp6: socket.socket | None = None
    ) -> None:
        """See `Engine`."""
        await self._engine.attach(token, tcp, udp, tcp6)

    async def replace_policy(self, sandbox: str, policy: str, source: str) -> None:
        """See `Engine`."""
        self._engine.replace_policy(sandbox, policy, source)

    async def replace_credentials(self, sandbox: str, credentials: Sequence[Credential]) -> None:
        """See `Engine`."""
        if sandbox in self._engine.sessions:
            self._engine.replace_credentials(sandbox, credentials)

    async def reconfigure(self, settings: EngineSettings) -> None:
        """See `Engine`."""
        self._engine.reconfigure(settings)

    async def close(self, sandbox: str) -> Totals:
        """See `Engine`."""
        return await self._engine.close(sandbox)

    async def close_all(self) -> None:
        """See `Engine`."""
        await self._engine.close_all()
