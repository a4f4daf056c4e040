"""The wiring: opens everything once and starts the loops. The only module that knows all others."""

import asyncio
import os
from pathlib import Path

import structlog

from airut_common.bus.topology import ORCHESTRATOR_TASKS
from airut_common.config.store import WatchedConfig, watch_config
from airut_common.contracts.v1 import TaskRequest
from airut_common.lifecycle import Service
from airut_common.sealed import ServiceKey, watch_secrets
from airut_orchestrator.acknowledge import Acknowledger
from airut_orchestrator.agents.claude_code import ClaudeCode
from airut_orchestrator.claim import Claim
from airut_orchestrator.control import Control
from airut_orchestrator.current import Current
from airut_orchestrator.database.connection import database_url, open_database
from airut_orchestrator.database.store import Store
from airut_orchestrator.dispatcher import Dispatcher
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.instance import only_instance
from airut_orchestrator.low_disk import DiskAlarm
from airut_orchestrator.neighbours import Neighbours
from airut_orchestrator.open_networks import OpenNetworks
from airut_orchestrator.prepare import Preparer
from airut_orchestrator.relay import ReplyRelay
from airut_orchestrator.reserve import Reserve
from airut_orchestrator.retention import Retention
from airut_orchestrator.runner import Runner
from airut_orchestrator.sessions import EgressSessions
from airut_orchestrator.task_log import TaskLogs
from airut_sandbox.container import remove_leftovers
from airut_sandbox.errors import PodmanUnusable
from airut_sandbox.podman import Podman, probe_podman

CLAIM_CONCURRENCY = 64
"""As many as one transaction of `Claim` takes."""

log = structlog.get_logger()


async def run(service: Service) -> None:
    """Serve until asked to stop."""
    settings, bus = service.settings, service.bus
    enter = service.exit_stack.enter_async_context
    service.exit_stack.enter_context(only_instance(settings.state_dir))

    async def report(text: str) -> None:
        await service.report("error", "config_invalid", text)

    config = await enter(watch_config(bus, on_problem=report))
    key = ServiceKey.load_or_create(settings.state_dir / "orchestrator.key")
    secrets = await enter(watch_secrets(bus, service.name, key))
    current, neighbours = Current(config, secrets), Neighbours(bus, service.report)
    database = await enter(open_database(database_url(os.environ, settings.state_dir)))
    podman = await _podman(service, config.server.sandbox.runtime)

    store, events = Store(database, settings.host), TaskEvents(bus)
    sessions = EgressSessions(bus, settings.host)
    reserve = Reserve(settings.state_dir / "reserve")
    preparer = Preparer(
        podman=podman,
        bus=bus,
        sessions=sessions,
        state=settings.state_dir,
        cache=_cache_folder(),
        installation=settings.installation,
        reserve=reserve,
    )
    preparer.clean()
    logs = TaskLogs(settings.state_dir / "logs")
    await logs.pack_leftovers()
    relay = ReplyRelay(
        bus,
        store,
        events,
        page=current.page,
        disk_full=reserve.give_up,
    )
    dispatcher = Dispatcher(
        store=store,
        runner=Runner(
            preparer=preparer,
            sessions=sessions,
            store=store,
            events=events,
            agent=ClaudeCode(),
            logs=logs,
        ),
        events=events,
        settings=current.settings,
        max_concurrent=current.max_concurrent,
        max_concurrent_of=current.max_concurrent_of,
        replied=relay.wake,
        host_lost=neighbours.lost,
        ask_host=neighbours.stop,
        disk_full=reserve.give_up,
    )
    await dispatcher.recover()
    service.spawn("relay", relay.run())
    service.spawn("egress-restarts", sessions.follow_restarts())
    service.spawn("egress-leftovers", sessions.sweep())
    retention = Retention(
        store=store,
        podman=podman,
        installation=settings.installation,
        folder=preparer.conversations,
        logs=logs,
        agents=preparer.agents,
        wanted_agents=current.agent_versions,
        mirrors=lambda: preparer.mirrors(config.repos, config.server),
        settings=current.retention,
    )
    service.spawn("retention", retention.keep_tidy())
    service.spawn("leases", dispatcher.keep_leases())
    alarm = DiskAlarm(settings.state_dir, settings.host, current.min_free_mib, service.report)
    service.spawn("disk", alarm.watch())
    service.spawn("configuration", _follow_changes(config, dispatcher, OpenNetworks(service.report)))
    acknowledge = Acknowledger(bus, wanted=current.acknowledges, page=current.page)
    claim = Claim(
        store,
        events,
        acknowledge,
        claimed=dispatcher.wake,
        has_room=dispatcher.has_room,
        wish=dispatcher.take_wish,
        disk_full=reserve.give_up,
        max_queue=current.max_queue,
        replied=relay.wake,
    )
    claiming = service.spawn(
        "claim",
        bus.consume(ORCHESTRATOR_TASKS, TaskRequest, claim, concurrency=CLAIM_CONCURRENCY, in_order=True),
    )
    stop_claiming = service.spawn("claim-stop", _cancel_at(service.stopping, claiming))
    await enter(bus.serve(service.name, Control(dispatcher, retention).endpoints(settings.host)))
    await service.ready()
    await dispatcher.run(service.stopping)
    await stop_claiming


async def _podman(service: Service, runtime: str | None) -> Podman:
    """A Podman that works, and nothing left of what an earlier orchestrator ran."""
    settings = service.settings
    try:
        podman = await probe_podman(settings.state_dir / "podman", runtime=runtime)
    except PodmanUnusable as error:
        await service.report("error", "podman_unusable", f"no task can run on {settings.host}: {error}")
        raise
    for name in await remove_leftovers(podman, settings.installation):
        log.info("leftover_removed", container=name)
    return podman


async def _follow_changes(config: WatchedConfig, dispatcher: Dispatcher, open_networks: OpenNetworks) -> None:
    while True:
        await open_networks.look(config.repos)
        await config.wait_changed()
        dispatcher.wake()  # more tasks may fit than before


async def _cancel_at(stopping: asyncio.Event, claiming: asyncio.Task[None]) -> None:
    """No new work from the moment a stop is asked for."""
    await stopping.wait()
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)


def _cache_folder() -> Path:
    """Downloads that any installation of this user may share: agents' programs."""
    if named := os.environ.get("AIRUT_CACHE_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airut"
