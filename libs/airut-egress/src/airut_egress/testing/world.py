"""A sandbox without a container: the engine's listeners on loopback, and clients that dial names through them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airut_common.config.credentials import MaskedCredential
from airut_common.contracts.v1 import EgressEvent, new_id
from airut_common.secrets import Secret
from airut_egress.destination import SocketLike
from airut_egress.engine import Engine, EngineSettings, Opened
from airut_egress.entries import Credential
from airut_egress.session import Session, SessionConfig

ALLOW_ALL = "domains: ['api.example.test', '*.allowed.test']\n"
WAIT_SECONDS = 10.0


@dataclass
class Recorder:
    """An event sink that can be waited on."""

    events: list[EgressEvent] = field(default_factory=list)
    starts: list[EgressEvent] = field(default_factory=list)
    """Kept apart, because on a slow machine any request may last."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, event: EgressEvent) -> None:
        """Keep an event."""
        (self.starts if event.is_start else self.events).append(event)
        self._changed.set()

    async def wait(self, accept: Callable[[EgressEvent], bool]) -> EgressEvent:
        """The first event that is accepted, now or soon.

        Raises:
            TimeoutError: none came; the text lists those that did.
        """
        return await self._wait(self.events, accept)

    async def wait_start(self) -> EgressEvent:
        """The first start that is told, now or soon.

        Raises:
            TimeoutError: none was.
        """
        return await self._wait(self.starts, lambda _: True)

    async def _wait(self, events: list[EgressEvent], accept: Callable[[EgressEvent], bool]) -> EgressEvent:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    if found := next(filter(accept, events), None):
                        return found
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError("\n".join(map(repr, events))) from None

    def of(self, kind: str) -> list[EgressEvent]:
        """Events of a kind, in order."""
        return [event for event in self.events if event.kind == kind]


def bearer_credential(value: str = "sk-ant-real0123456789abcdefREAL", **config: Any) -> Credential:
    """A masked key for api.example.test."""
    config = {"scopes": ("api.example.test",)} | config
    return Credential("API_KEY", MaskedCredential(**config), {"API_KEY": Secret(value)})


class Sandbox:
    """One attached session, and ways to speak out of it."""

    def __init__(
        self, world: "World", opened: Opened, address: tuple[str, int], dns: tuple[str, int]
    ) -> None:
        self.world = world
        self.id = opened.sandbox
        self.environment = opened.environment
        self.token = opened.token
        self.address = address
        self.dns = dns
        self.ca_certificate = opened.ca_certificate

    @property
    def session(self) -> Session:
        """The engine's view."""
        return self.world.engine.sessions[self.id]

    def expect(self, name_or_address: str, port: int) -> socket.socket:
        """A socket whose connection to `self.address` will look as if it went there."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)  # noqa: FBT003
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(("127.0.0.1", 0))
        literal = name_or_address.replace(".", "").isdigit()
        address = name_or_address if literal else str(self.session.names.address_for(name_or_address))
        self.world.destinations[sock.getsockname()[1]] = (address, port)
        return sock

    async def dial(self, name_or_address: str, port: int) -> socket.socket:
        """A connected socket."""
        sock = self.expect(name_or_address, port)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self.address)
        except OSError:
            sock.close()
            raise
        return sock

    async def open(
        self, name: str, port: int, *, server_name: str | None = None, alpn: Sequence[str] = ("http/1.1",)
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Streams, with TLS on ports for https."""
        sock = await self.dial(name, port)
        if port not in {443, 8443}:
            return await asyncio.open_connection(sock=sock)
        context = self.ssl_context(alpn)
        return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=server_name or name)

    def ssl_context(self, alpn: Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
        """Trusts the engine's authority and nothing else."""
        context = ssl.create_default_context(cadata=self.ca_certificate)
        context.set_alpn_protocols(list(alpn))
        return context

    async def ask(self, query: bytes) -> bytes | None:
        """Send a DNS datagram; None when nothing comes back within a moment."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # noqa: FBT003
            await loop.sock_connect(sock, self.dns)
            await loop.sock_sendall(sock, query)
            try:
                async with asyncio.timeout(1):
                    return await loop.sock_recv(sock, 4096)
            except TimeoutError:
                return None


class World:
    """An engine whose lookups are told by the tests."""

    def __init__(self, state_dir: Path, settings: EngineSettings) -> None:
        self.recorder = Recorder()
        self.destinations: dict[int, tuple[str, int]] = {}
        self.engine = Engine(
            settings,
            sink=self.recorder,
            installation_key=b"k" * 32,
            state_dir=state_dir,
            lookup=self._lookup,
        )

    def _lookup(self, accepted: SocketLike) -> tuple[str, int]:
        peer: Any = accepted
        return self.destinations[peer.getpeername()[1]]

    async def sandbox(self, policy: str = ALLOW_ALL, *, credentials: Sequence[Credential] = ()) -> Sandbox:
        """Open a session and attach fresh sockets to it."""
        config = SessionConfig(
            sandbox=new_id(), task=new_id(), repo="demo", policy=policy, credentials=tuple(credentials)
        )
        return await self.attach(self.engine.open(config))

    async def attach(self, opened: Opened) -> Sandbox:
        """Attach fresh sockets to an open session."""
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        addresses = tcp.getsockname(), udp.getsockname()
        await self.engine.attach(opened.token, tcp, udp)
        return Sandbox(self, opened, *addresses)


@asynccontextmanager
async def running_world(state_dir: Path, settings: EngineSettings | None = None) -> AsyncIterator[World]:
    """An engine; everything it opened is closed at the end."""
    world = World(state_dir, settings or EngineSettings())
    try:
        yield world
    finally:
        await world.engine.close_all()
