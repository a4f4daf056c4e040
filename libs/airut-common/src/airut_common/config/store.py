"""Configuration on the bus: written by `airut apply`, watched by every service, the last good version kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import structlog
from pydantic import ValidationError

from airut_common.bus import Bus, KvEntry
from airut_common.bus.topology import CONFIG_BUCKET
from airut_common.bus.watching import snapshot, watching
from airut_common.config.models import InstallationConfig, RepoConfig, ServerConfig
from airut_common.config.yamlfile import describe

SERVER_KEY = "server"
REPO_PREFIX = "repos."

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
        self._complete = False
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
        before = (self.server, dict(self._repos))
        if entry.key == SERVER_KEY and entry.value is not None:
            self.server = ServerConfig.model_validate_json(entry.value)
            self._has_server = True
        elif entry.key.startswith(REPO_PREFIX):
            repo = entry.key.removeprefix(REPO_PREFIX)
            if entry.value is None:
                self._repos.pop(repo, None)
            else:
                self._repos[repo] = RepoConfig.model_validate_json(entry.value)
        # After a lost connection everything is told again: what is as it was is no change.
        if self._complete and before != (self.server, self._repos):
            self._changed.set()


@asynccontextmanager
async def watch_config(bus: Bus, *, on_problem: ProblemHandler | None = None) -> AsyncIterator[WatchedConfig]:
    """Follow the configuration while the context is open; it is complete when the context begins.

    `on_problem` is told in words what is wrong with an entry that does not validate.

    Raises:
        NoConfiguration: none has been applied, or none that is valid.
        BusUnavailable: it could not be read.
    """
    config = WatchedConfig()
    problems: list[str] = []

    async def take(entry: KvEntry) -> None:
        try:
            config._take(entry)
        except ValidationError as error:
            model = ServerConfig if entry.key == SERVER_KEY else RepoConfig
            reason = "; ".join(str(problem) for problem in describe(error, entry.key, model))
            problems.append(reason)
            log.error("config_invalid", key=entry.key, reason=reason)
            if on_problem is not None:
                await on_problem(f"the last good configuration stays in force: {reason}")

    async with watching(bus, CONFIG_BUCKET, ">", take):
        config._complete = True
        if not config._has_server:
            raise NoConfiguration(
                "\n".join(problems) or "no configuration has been applied yet; run `airut apply`"
            )
        yield config


async def applied_repos(bus: Bus) -> dict[str, RepoConfig]:
    """Repositories as they were applied last; without those that do not validate.

    Raises:
        BusUnavailable: they could not be read.
    """
    found: dict[str, RepoConfig] = {}
    for key, value in (await snapshot(bus, CONFIG_BUCKET, f"{REPO_PREFIX}>")).items():
        with suppress(ValidationError):
            found[key.removeprefix(REPO_PREFIX)] = RepoConfig.model_validate_json(value)
    return found


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
    stored = await snapshot(bus, CONFIG_BUCKET)
    present = {
        key: value for key, value in stored.items() if key == SERVER_KEY or key.startswith(REPO_PREFIX)
    }
    changes = []
    for key, value in wanted.items():
        if present.get(key) != value:
            await bus.kv_put(CONFIG_BUCKET, key, value)
            changes.append(f"{key} {'changed' if key in present else 'added'}")
    for key in sorted(present.keys() - wanted.keys()):
        await bus.kv_delete(CONFIG_BUCKET, key)
        changes.append(f"{key} removed")
    return changes
