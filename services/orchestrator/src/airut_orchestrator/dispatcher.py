"""Which task runs when: oldest first, one of a conversation at a time, up to `max_concurrent` side by side."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from airut_common.config.models import RepoConfig, ServerConfig
from airut_common.contracts.v1 import Reply, utc_now
from airut_common.secrets import Secret
from airut_orchestrator.database.store import QueuedTask, Store
from airut_orchestrator.relay import ReplyRelay
from airut_orchestrator.runner import Runner

MAX_ATTEMPTS = 3
"""A task that was under way at so many deaths of the orchestrator is given up, and the person is told."""

log = structlog.get_logger()


class Dispatcher:
    """Starts tasks and sees them to their reply."""

    def __init__(
        self,
        *,
        store: Store,
        runner: Runner,
        relay: ReplyRelay,
        server: Callable[[], ServerConfig],
        repos: Callable[[], Mapping[str, RepoConfig]],
        token: Callable[[str, RepoConfig], Secret | None],
    ) -> None:
        self._store = store
        self._runner = runner
        self._relay = relay
        self._server = server
        self._repos = repos
        self._token = token
        self._wake = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """There may be something to start."""
        self._wake.set()

    async def recover(self) -> None:
        """At start: tasks whose orchestrator died are tried again, or given up with a reply."""
        for task in await self._store.interrupted():
            if task.attempts < MAX_ATTEMPTS:
                log.info("task_resumed", task=task.id, attempts=task.attempts)
                await self._store.requeue(task.id)
                self._runner.announce(task, "queued", reason="interrupted, will be tried again")
            else:
                await self._finish(task, _given_up(task), "interrupted too often")

    async def run(self, stopping: asyncio.Event) -> None:
        """Start tasks until `stopping`; then cancel what runs and hand it back to the queue."""
        stop = asyncio.get_running_loop().create_task(stopping.wait(), name="dispatcher-stop")
        try:
            while not stopping.is_set():
                self._wake.clear()
                await self._start_what_fits()
                wake = asyncio.get_running_loop().create_task(self._wake.wait(), name="dispatcher-wake")
                await asyncio.wait({wake, stop}, return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
        finally:
            stop.cancel()
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _start_what_fits(self) -> None:
        while len(self._running) < self._server().max_concurrent:
            task = await self._store.begin_next()
            if task is None:
                return
            work = asyncio.get_running_loop().create_task(self._see_through(task), name=f"task-{task.id[:8]}")
            self._running[task.id] = work

    async def _see_through(self, task: QueuedTask) -> None:
        repo = self._repos().get(task.request.repo)
        token = self._token(task.request.repo, repo) if repo is not None else None
        try:
            reply = await self._runner.run(task, self._server(), repo, token)
            await self._finish(task, reply, None)
        except asyncio.CancelledError:
            await asyncio.shield(self._store.put_back(task.id))
            raise
        except Exception:
            # The database failed: the task stays as it is and is recovered at the next start.
            log.exception("task_not_finished", task=task.id)
        finally:
            self._running.pop(task.id, None)
            self.wake()

    async def _finish(self, task: QueuedTask, reply: Reply, reason: str | None) -> None:
        await self._store.finish(reply, reason)
        self._relay.wake()
        log.info("task_finished", task=task.id, outcome=reply.outcome)


def _given_up(task: QueuedTask) -> Reply:
    request = task.request
    text = (
        f"Airut was interrupted {task.attempts} times while it worked on this, and has given up. "
        "The workspace was kept: reply in this thread to go on."
    )
    return Reply(
        id=task.id,
        repo=request.repo,
        channel=request.channel,
        conversation=task.conversation,
        outcome="interrupted",
        text=text,
        route=request.route,
        created_at=utc_now(),
    )
