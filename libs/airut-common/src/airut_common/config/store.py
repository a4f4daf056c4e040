"""Configuration on the bus: written by `airut apply`, watched by every service, the last good version kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import structlog
from pydantic import ValidationError

from airut_common.bus import Bus, KvEntry
from airut_common.bus.topology import CONFIG_BUCKET
from airut_common.config.models import InstallationConfig, RepoConfig, ServerConfig

SERVER_KEY = "server"
REPO_PREFIX = "repos."
FIRST_SECONDS = 20.0

log = structlog.get_logger()

ProblemHandler = Callable[[str], Awaitable[None]]


class NoConfiguration(Exception):
    """Nothing valid has been applied yet."""


class WatchedConfig:
    """The configuration as it is now. Read its fields anew each time: they change."""

    def __init__(self) -> None:
        self.server = ServerConfig()
        self._repos: dict[str, RepoConfig] = {}
        self._changed = asyncio.Event()
        self._complete = asyncio.Event()
        self._has_server = False

    @property
    def repos(self) -> Mapping[str, RepoConfig]:
        """Repositories by id."""
        return self._repos

    async def wait_changed(self) -> None:
        """Return once something has changed since the last call; no change in between is missed."""
        await self._changed.wait()
        self._changed.clear()

    def _take(self, entry: KvEntry) -> None:
        """Take one key in.

        Raises:
            ValidationError: it does not validate; what was there before stays.
        """
        deleted = not entry.value
        if entry.key == SERVER_KEY and not deleted:
            self.server = ServerConfig.model_validate_json(entry.value or b"")
            self._has_server = True
        elif entry.key.startswith(REPO_PREFIX):
            repo = entry.key.removeprefix(REPO_PREFIX)
            if deleted:
                self._repos.pop(repo, None)
            else:
                self._repos[repo] = RepoConfig.model_validate_json(entry.value or b"")
        else:
            return
        if self._complete.is_set():
            self._changed.set()


@asynccontextmanager
async def watch_config(bus: Bus, *, on_problem: ProblemHandler | None = None) -> AsyncIterator[WatchedConfig]:
    """Follow the configuration while the context is open; it is complete when the context begins.

    Raises:
        NoConfiguration: none has been applied.
    """
    config = WatchedConfig()

    async def follow() -> None:
        async for entry in bus.kv_watch(CONFIG_BUCKET):
            if entry is None:
                config._complete.set()
                continue
            try:
                config._take(entry)
            except ValidationError as error:
                text = f"configuration {entry.key} is not valid, the last good one stays: {error}"
                log.error("config_invalid", key=entry.key, reason=str(error))
                if on_problem is not None:
                    await on_problem(text)

    task = asyncio.get_running_loop().create_task(follow(), name="config")
    try:
        async with asyncio.timeout(FIRST_SECONDS):
            await config._complete.wait()
        if not config._has_server:
            raise NoConfiguration("no configuration has been applied yet; run `airut apply`")
        yield config
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def apply_config(bus: Bus, installation: InstallationConfig) -> list[str]:
    """Write what differs from the stored configuration and delete repositories that vanished.

    Returns one line for each change: `server changed`, `repos.demo added`.

    Raises:
        BusUnavailable: the bus did not take it; applying again is safe.
    """
    wanted = {SERVER_KEY: installation.server().model_dump_json().encode()} | {
        REPO_PREFIX + repo: settings.model_dump_json().encode()
        for repo, settings in installation.repos.items()
    }
    present = await _present(bus)
    changes = []
    for key, value in wanted.items():
        if present.get(key) != value:
            await bus.kv_put(CONFIG_BUCKET, key, value)
            changes.append(f"{key} {'changed' if key in present else 'added'}")
    for key in sorted(present.keys() - wanted.keys()):
        await bus.kv_delete(CONFIG_BUCKET, key)
        changes.append(f"{key} removed")
    return changes


async def _present(bus: Bus) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    async for entry in bus.kv_watch(CONFIG_BUCKET):
        if entry is None:
            break
        if entry.value and (entry.key == SERVER_KEY or entry.key.startswith(REPO_PREFIX)):
            found[entry.key] = entry.value
    return found
