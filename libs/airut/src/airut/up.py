"""`airut up`: the embedded bus and every service as processes of their own, one log, an ordered stop."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

from watchfiles import awatch

from airut.bus_access import admin_bus, bus_url
from airut.bus_care import BusCare
from airut.console import LogView
from airut.errors import UsageError
from airut.identities import ensure_identity
from airut.installation import Installation, read_config
from airut.ports import remembered_port
from airut.services import IDENTITIES, passed_on, service_child, wanted_services
from airut.supervisor import Child, ChildSpec, LineWriter
from airut_common.bus.server import NatsServer
from airut_common.config.store import apply_config
from airut_common.config.yamlfile import ConfigError

NATS_STOP_SECONDS = 10.0
OURSELVES = "airut"


async def run_installation(installation: Installation) -> None:
    """Run until SIGINT or SIGTERM; returns after everything has stopped.

    Raises:
        UsageError: when the bus cannot be had, or the services to run changed and a restart is needed.
    """
    kinds = wanted_services(installation.config)
    view = LogView([OURSELVES, "nats-server", *(kind.name for kind in kinds)])
    stopping = _stop_on_signals()
    if os.geteuid() == 0:
        view.write(
            OURSELVES,
            "warning: running as root: the root of a sandbox is the root of this host, held only by capabilities, "
            "seccomp and namespaces; run as a user of its own (see docs/operations.md)",
        )
    with installation.lock():
        async with AsyncExitStack() as stack:
            running: list[tuple[Child, asyncio.Task[None]]] = []
            stack.push_async_callback(_stop_in_order, running)
            if installation.config.nats_url is None:
                stack.push_async_callback(_cancel, _start_bus(installation, view, running))
            await _prepare_bus(installation)
            services: list[tuple[Child, asyncio.Task[None]]] = []
            stack.push_async_callback(_stop_in_order, services)
            for kind in kinds:
                _start(service_child(installation, kind, bus_url(installation)), view.write, services)
            await _watch_file(installation, view, stopping)
            view.write(OURSELVES, "stopping")
    view.write(OURSELVES, "stopped")


def _start(spec: ChildSpec, write: LineWriter, into: list[tuple[Child, asyncio.Task[None]]]) -> None:
    child = Child(spec, write)
    into.append((child, asyncio.get_running_loop().create_task(child.supervise(), name=spec.name)))


def _start_bus(
    installation: Installation, view: LogView, into: list[tuple[Child, asyncio.Task[None]]]
) -> asyncio.Task[None]:
    """The embedded server, and who looks after it."""

    def restart() -> None:
        view.write(OURSELVES, "there is room on the disk again: nats-server is started anew")
        into[0][0].restart()

    care = BusCare(installation.nats, restart)

    def write(name: str, line: str) -> None:
        care.heard(line)
        # The server's banner and notices are not what an operator reads this log for.
        if "[INF]" not in line:
            view.write(name, line)

    _start(_nats_child(installation), write, into)
    return asyncio.get_running_loop().create_task(care.look_after(), name="bus-care")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _stop_in_order(children: list[tuple[Child, asyncio.Task[None]]]) -> None:
    for child, task in children:
        await child.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _nats_child(installation: Installation) -> ChildSpec:
    keys = {identity: ensure_identity(installation.keys, identity) for identity in IDENTITIES}
    server = NatsServer(installation.nats, port=remembered_port(installation.nats / "port"), nkeys=keys)
    return ChildSpec(
        "nats-server", server.write_config(), passed_on(os.environ), stop_seconds=NATS_STOP_SECONDS
    )


async def _prepare_bus(installation: Installation) -> None:
    """Streams, buckets and the configuration, before any service looks for them."""
    for identity in IDENTITIES:
        ensure_identity(installation.keys, identity)
    async with admin_bus(installation) as bus:
        await bus.ensure_topology(installation.config.nats_replicas)
        await apply_config(bus, installation.config)


async def _watch_file(installation: Installation, view: LogView, stopping: asyncio.Event) -> None:
    """Apply `airut.yaml` whenever it changes; an invalid file changes nothing and is explained."""
    file = installation.config_file.resolve()
    # The folder is watched, because editors replace a file rather than write into it.
    async for changes in awatch(file.parent, stop_event=stopping, recursive=False):
        if not any(path == str(file) for _, path in changes):
            continue
        try:
            await _apply_again(installation, view)
        except (ConfigError, UsageError) as error:
            for line in str(error).splitlines():
                view.write(OURSELVES, line)
            view.write(OURSELVES, f"{file.name} was not applied; the last good configuration stays in force")


async def _apply_again(installation: Installation, view: LogView) -> None:
    config = read_config(installation.config_file)
    if (
        wanted_services(config) != wanted_services(installation.config)
        or config.nats_url != installation.config.nats_url
        or config.nats_replicas != installation.config.nats_replicas
    ):
        raise UsageError("this changes the services or their bus: restart `airut up` to apply it")
    async with admin_bus(installation) as bus:
        changes = await apply_config(bus, config)
    view.write(
        OURSELVES, f"applied {installation.config_file.name}: {', '.join(changes) or 'nothing changed'}"
    )
