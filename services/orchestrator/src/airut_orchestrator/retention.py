"""What nobody uses any more goes: conversations with all that is theirs, images, versions of the agent."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from airut_common.config.models import RetentionConfig
from airut_common.contracts.v1 import GarbageCollected, utc_now
from airut_common.processes import ProcessError
from airut_orchestrator.database.store import Store
from airut_orchestrator.task_log import TaskLogs
from airut_sandbox.agent_channel import Agents
from airut_sandbox.beneath import TreeNotRemoved, discard_tree
from airut_sandbox.errors import SandboxError
from airut_sandbox.mirror import Mirror, MirrorError
from airut_sandbox.old_images import old_images, remove_image
from airut_sandbox.podman import Podman

EVERY_SECONDS: Final = 3600.0
_LISTED: Final = 1000
_PROBLEMS_LISTED: Final = 20

log = structlog.get_logger()


class Retention:
    """Removes on a schedule, and when an operator asks."""

    def __init__(
        self,
        *,
        store: Store,
        podman: Podman,
        installation: str,
        folder: Path,
        logs: TaskLogs,
        agents: Agents,
        wanted_agents: Callable[[], Collection[str]],
        mirrors: Callable[[], Iterable[Mirror]],
        settings: Callable[[], RetentionConfig],
    ) -> None:
        """`folder` holds one folder for each conversation; `wanted_agents` says which versions are configured,
        `mirrors` what the repositories have here."""
        self._store = store
        self._podman = podman
        self._installation = installation
        self._folder = folder
        self._logs = logs
        self._agents = agents
        self._wanted_agents = wanted_agents
        self._mirrors = mirrors
        self._settings = settings
        self._one_at_a_time = asyncio.Lock()

    async def keep_tidy(self) -> None:
        """Until cancelled: remove now, and then every hour; and repack what many fetches have left in pieces."""
        while True:
            try:
                found = await self.collect(dry_run=False)
                for problem in found.problems:
                    log.warning("not_removed", reason=problem)
            except SQLAlchemyError as error:
                log.warning("nothing_removed", reason=str(error.__cause__ or error))
            await self.tidy_mirrors()
            await asyncio.sleep(EVERY_SECONDS)

    async def tidy_mirrors(self) -> None:
        """Repack mirrors that many fetches have left in pieces; one that cannot be is logged."""
        for mirror in self._mirrors():
            try:
                await mirror.tidy()
            except MirrorError as error:
                log.warning("mirror_not_tidied", reason=str(error))

    async def collect(self, *, dry_run: bool) -> GarbageCollected:
        """Remove what is older than the configuration says, or only tell what would be.

        Raises:
            SQLAlchemyError: the database cannot be read; nothing was removed.
        """
        moment = utc_now() - timedelta(days=self._settings().conversation_days)
        async with self._one_at_a_time:
            problems: list[str] = []
            conversations = await self._conversations(moment, problems, dry_run=dry_run)
            images = await self._images(moment, problems, dry_run=dry_run)
            agents = await asyncio.to_thread(self._old_agents, moment, problems, dry_run=dry_run)
        if (conversations or images or agents) and not dry_run:
            log.info("removed", conversations=len(conversations), images=len(images), agents=agents)
        return GarbageCollected(
            conversations=tuple(conversations[:_LISTED]),
            conversation_count=len(conversations),
            images=tuple(images[:_LISTED]),
            image_count=len(images),
            agents=tuple(agents),
            problems=tuple(problems[:_PROBLEMS_LISTED]),
        )

    async def _conversations(self, moment: datetime, problems: list[str], *, dry_run: bool) -> list[str]:
        # Before the database is asked: a folder that appears later belongs to a conversation that is not in the answer.
        folders = await asyncio.to_thread(self._folders)
        orphans = folders - await self._store.conversations()
        unused = await self._store.unused_since(moment)
        if dry_run:
            return [*unused, *sorted(orphans)]
        # First the row, in one transaction: a message that comes now begins a new conversation. Then the folder; what
        # a crash leaves of it is an orphan at the next time.
        forgotten = [name for name in unused if await self._store.forget(name, moment)]
        return [name for name in (*forgotten, *sorted(orphans)) if await self._discard(name, problems)]

    async def _discard(self, conversation: str, problems: list[str]) -> bool:
        try:
            await discard_tree(self._folder / conversation, self._podman)
            await self._logs.discard(conversation)
        except (OSError, TreeNotRemoved, ProcessError) as error:
            problems.append(f"conversation {conversation}: {error}")
            return False
        return True

    async def _images(self, moment: datetime, problems: list[str], *, dry_run: bool) -> list[str]:
        removed: list[str] = []
        try:
            images = await old_images(self._podman, self._installation, before=moment)
        except SandboxError as error:
            problems.append(str(error))
            return removed
        for image in images:
            try:
                if not dry_run:
                    await remove_image(self._podman, image)
                removed.append(image.name)
            except SandboxError as error:
                problems.append(str(error))
        return removed

    def _old_agents(self, moment: datetime, problems: list[str], *, dry_run: bool) -> list[str]:
        removed: list[str] = []
        try:
            found = self._agents.old(before=moment, wanted=self._wanted_agents())
        except OSError as error:
            problems.append(f"versions of the agent: {error}")
            return removed
        for version in found:
            try:
                if not dry_run:
                    self._agents.remove(version)
                removed.append(version)
            except OSError as error:
                problems.append(f"version {version} of the agent: {error}")
        return removed

    def _folders(self) -> set[str]:
        """Of conversations, and of logs: what a crash left of either is found by the other."""
        found: set[str] = set()
        for folder in (self._folder, self._logs.folder):
            with contextlib.suppress(FileNotFoundError):
                found |= {entry.name for entry in folder.iterdir()}
        return found
