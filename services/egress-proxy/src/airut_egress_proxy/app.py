"""The wiring: configuration and secrets in, sessions and events out."""

import asyncio
import resource
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import structlog

from airut_common.bus import Bus
from airut_common.config.models import EgressConfig
from airut_common.config.store import WatchedConfig, watch_config
from airut_common.lifecycle import Service
from airut_common.sealed import ServiceKey, WatchedSecrets, watch_secrets
from airut_common.settings import ServiceSettings
from airut_egress.engine import Engine
from airut_egress.engines import Engines, OneEngine
from airut_egress.sessions import SandboxNetworks, engine_settings

from .control import Control
from .fan_out import FanOut
from .keys import installation_key
from .sink import BusSink
from .spool import Spool
from .watchers import watch_events
from .workers.placement import default_workers
from .workers.pool import WorkerPool

SERVICE: Final = "egress-proxy"
_MAX_SOCKET_PATH: Final = 90  # sockaddr_un has 108 bytes, and the draft's name is a little longer

_DESERTED_SECONDS: Final = 60.0

log = structlog.get_logger()


async def run(service: Service) -> None:
    """Serve until asked to stop."""
    settings, bus = service.settings, service.bus
    enter = service.exit_stack.enter_async_context
    _raise_descriptor_limit()

    async def report(text: str) -> None:
        await service.report("error", "config_invalid", text)

    config = await enter(watch_config(bus, on_problem=report))
    key = ServiceKey.load_or_create(settings.state_dir / f"{SERVICE}.key")
    secrets = await enter(watch_secrets(bus, SERVICE, key))
    spool = Spool.open(settings.state_dir / "events.spool")
    service.exit_stack.callback(spool.close)
    sink = BusSink(_BusOutlet(bus), spool)
    watched = await watch_events(
        config.server.egress, sink, spool, service=SERVICE, stack=service.exit_stack, on_problem=report
    )
    attach_socket = service.exit_stack.enter_context(_socket_path(settings.state_dir))
    engines = await enter(_engines(config.server.egress, settings, watched.sink))
    networks = SandboxNetworks(engines, attach_socket=attach_socket)
    await enter(networks.running())
    control = Control(networks, repos=lambda: config.repos, secret=secrets.get)
    service.spawn("events", sink.run())
    service.spawn("configuration", _follow_config(service, config, networks, control))
    service.spawn("secrets", _follow_secrets(secrets, control))
    service.spawn("deserted", _close_deserted(networks))
    async with bus.serve(SERVICE, control.endpoints(settings.host)):
        # Orchestrators open their sessions anew on this, so nothing may be missing by now (field notes 36).
        await service.ready(watched.addresses)
        await service.stopping.wait()


@asynccontextmanager
async def _engines(
    egress: EgressConfig, settings: ServiceSettings, sink: BusSink | FanOut
) -> AsyncIterator[Engines]:
    """One worker is this process; more are processes of their own."""
    key = installation_key(settings.state_dir / "surrogates.key")
    workers = egress.workers or default_workers()
    if workers == 1:
        yield OneEngine(
            Engine(engine_settings(egress), sink=sink, installation_key=key, state_dir=settings.state_dir)
        )
        return
    pool = WorkerPool(
        engine_settings(egress),
        workers=workers,
        sink=sink,
        installation_key=key,
        state_dir=settings.state_dir,
        log_format=settings.log_format,
        log_level=settings.log_level,
    )
    async with pool.running():
        yield pool


class _BusOutlet:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def publish_soon(self, subject: str, data: bytes) -> bool:
        return self._bus.publish_soon_encoded(subject, data)

    @property
    def connected(self) -> bool:
        return bool(self._bus.client.is_connected)


async def _follow_config(
    service: Service, config: WatchedConfig, networks: SandboxNetworks, control: Control
) -> None:
    in_force = config.server.egress
    while True:
        await config.wait_changed()
        if config.server.egress != in_force:
            try:
                await networks.reconfigure(config.server.egress)
                if config.server.egress.workers != in_force.workers:
                    await service.report(
                        "warning",
                        "restart_needed",
                        "egress.workers has changed: it takes effect at a restart",
                    )
                in_force = config.server.egress
                log.info("egress_reconfigured")
            except ValueError as error:
                await service.report(
                    "error", "config_invalid", f"the last good egress settings stay: {error}"
                )
        await control.refresh()


async def _follow_secrets(secrets: WatchedSecrets, control: Control) -> None:
    while True:
        await secrets.wait_changed()
        await control.refresh()


async def _close_deserted(networks: SandboxNetworks) -> None:
    """An orchestrator that died could not close its sessions, and their sockets keep namespaces alive."""
    while True:
        await asyncio.sleep(_DESERTED_SECONDS)
        for sandbox in await networks.close_deserted():
            log.info("session_deserted", sandbox=sandbox)


@contextmanager
def _socket_path(state_dir: Path) -> Iterator[Path]:
    """Beside the state, unless that path is longer than Unix sockets allow."""
    wanted = state_dir.absolute() / "attach.sock"
    if len(str(wanted).encode()) <= _MAX_SOCKET_PATH:
        yield wanted
        return
    folder = Path(tempfile.mkdtemp(prefix="airut-egress-"))  # 0700
    try:
        yield folder / "attach.sock"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _raise_descriptor_limit() -> None:
    """Each connection of a sandbox takes two descriptors; the soft limit is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
