"""The wiring: opens everything once and starts the loops. The only module that knows all others."""

import asyncio
import os
from pathlib import Path

import structlog

from airut_common.bus.topology import ORCHESTRATOR_TASKS
from airut_common.config.models import RepoConfig
from airut_common.config.store import watch_config
from airut_common.contracts.v1 import TaskRequest
from airut_common.lifecycle import Service
from airut_common.sealed import ServiceKey, watch_secrets
from airut_common.secrets import Secret
from airut_orchestrator.agents.claude_code import ClaudeCode
from airut_orchestrator.claim import Claim
from airut_orchestrator.database.connection import open_database
from airut_orchestrator.database.store import Store
from airut_orchestrator.dispatcher import Dispatcher
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.prepare import Preparer
from airut_orchestrator.relay import ReplyRelay
from airut_orchestrator.runner import Runner
from airut_orchestrator.sessions import EgressSessions
from airut_sandbox.container import remove_leftovers
from airut_sandbox.podman import probe_podman

CLAIM_CONCURRENCY = 4

log = structlog.get_logger()


async def run(service: Service) -> None:
    """Serve until asked to stop."""
    settings, bus = service.settings, service.bus
    enter = service.exit_stack.enter_async_context

    async def report(text: str) -> None:
        await service.report("error", "config_invalid", text)

    config = await enter(watch_config(bus, on_problem=report))
    key = ServiceKey.load_or_create(settings.state_dir / "orchestrator.key")
    secrets = await enter(watch_secrets(bus, service.name, key))
    engine = await enter(open_database(settings.state_dir / "orchestrator.db"))
    podman = await probe_podman(settings.state_dir / "podman", runtime=config.server.sandbox.runtime)
    for name in await remove_leftovers(podman, settings.installation):
        log.info("leftover_removed", container=name)

    store, events = Store(engine), TaskEvents(bus)
    sessions = EgressSessions(bus, settings.host)
    preparer = Preparer(podman, bus, settings.state_dir, _cache_folder(), settings.installation)
    runner = Runner(preparer=preparer, sessions=sessions, store=store, events=events, agent=ClaudeCode())
    relay = ReplyRelay(bus, store, events)

    def token(repo_id: str, repo: RepoConfig) -> Secret | None:
        return secrets.get(repo_id, repo.git.token_secret) if repo.git.token_secret else None

    dispatcher = Dispatcher(
        store=store,
        runner=runner,
        relay=relay,
        server=lambda: config.server,
        repos=lambda: config.repos,
        token=token,
    )
    await dispatcher.recover()
    claim = Claim(store, runner, dispatcher)
    service.spawn("relay", relay.run())
    service.spawn("egress-restarts", sessions.follow_restarts())
    claiming = service.spawn(
        "claim", bus.consume(ORCHESTRATOR_TASKS, TaskRequest, claim, concurrency=CLAIM_CONCURRENCY)
    )
    await service.ready()
    await dispatcher.run(service.stopping)
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)


def _cache_folder() -> Path:
    """Downloads that any installation of this user may share: agents' programs."""
    if named := os.environ.get("AIRUT_CACHE_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airut"
