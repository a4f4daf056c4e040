"""Which task runs when: oldest first, one of a conversation at a time, up to `max_concurrent` side by side."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError

from airut_common.contracts.v1 import Reply
from airut_orchestrator.database.hosts import TakenOver
from airut_orchestrator.database.store import LEASE, QueuedTask, Store
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.replies import build_reply
from airut_orchestrator.reserve import is_disk_full
from airut_orchestrator.runner import Finished, Settings
from airut_orchestrator.stopping import answer_to_wish, never_begun
from airut_orchestrator.verdict import Result
from airut_orchestrator.wishes import asks_to_stop
from airut_orchestrator.work import Work

MAX_ATTEMPTS = 3
"""A task that was under way at so many deaths of the orchestrator is given up, and the person is told."""
GRACE_SECONDS = 3.0
"""At a stop: time for tasks that are nearly done anyway."""
FINISH_SECONDS = 15.0
"""At a stop: time to bring home what an agent has finished."""
RENEW_SECONDS = LEASE.total_seconds() / 3
RETRY_SECONDS = 1.0
POLL_SECONDS = 1.0
"""Where several hosts share a database: how often to look for what another one has taken in or handed back."""
LOST_AFTER = 2 * LEASE
"""A host that has not been seen for so long is gone; its leases have ended long before."""
SLOWEST_RETRY_SECONDS = 30.0

log = structlog.get_logger()


class TaskRunner(Protocol):
    """Runs one task."""

    async def run(self, task: QueuedTask, settings: Settings, work: Work) -> Finished:
        """To its reply. Raises nothing but cancellation, and not even that when `work` was stopped."""
        ...


class Dispatcher:
    """Starts tasks and sees them to their reply."""

    def __init__(
        self,
        *,
        store: Store,
        runner: TaskRunner,
        events: TaskEvents,
        settings: Callable[[str], Settings],
        max_concurrent: Callable[[], int],
        max_concurrent_of: Callable[[], Mapping[str, int]],
        replied: Callable[[], None],
        host_lost: Callable[[TakenOver], Awaitable[None]],
        ask_host: Callable[[str, str, str], Awaitable[bool]],
        disk_full: Callable[[], None],
    ) -> None:
        """`settings` gives a repository's configuration as it is now, `max_concurrent_of` the limits of those that
        have one; `replied` is told that a reply waits to be published; `host_lost` what was taken over from another
        host; `ask_host` asks another host (its name, the task, who asks) to stop a task; `disk_full` makes room."""
        self._store = store
        self._runner = runner
        self._events = events
        self._settings = settings
        self._max_concurrent = max_concurrent
        self._max_concurrent_of = max_concurrent_of
        self._replied = replied
        self._host_lost = host_lost
        self._ask_host = ask_host
        self._disk_full = disk_full
        self._wake = asyncio.Event()
        self._running: dict[str, Work] = {}

    def wake(self) -> None:
        """There may be something to start."""
        self._wake.set()

    def has_room(self) -> bool:
        """Whether another task could begin now."""
        return len(self._running) < self._max_concurrent()

    async def recover(self) -> None:
        """At start, when no other orchestrator of this host lives: take up what the last one left."""
        await self._store.be_seen()
        await self._store.release_all()
        await self._reap()

    async def keep_leases(self) -> None:
        """Until cancelled: renew the leases of what runs, and take up what nobody works on any more."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            began = time.monotonic()
            try:
                await self.renew_leases()
            except SQLAlchemyError as error:
                log.warning("leases_not_renewed", reason=str(error.__cause__ or error))
                if self._store.database.is_shared and time.monotonic() - renewed > LEASE.total_seconds():
                    self._let_everything_go()
            else:
                renewed = began

    async def renew_leases(self) -> None:
        """One round of `keep_leases`.

        Raises:
            SQLAlchemyError: the database did not answer.
        """
        await self._store.be_seen()
        running = dict(self._running)
        for task in running.keys() - await self._store.renew(list(running)):
            self._let_go(task, running[task])
        for lost in await self._store.take_over(LOST_AFTER):
            log.warning("host_lost", host=lost.host, conversations=lost.conversations, tasks=lost.tasks)
            await self._host_lost(lost)
        await self._reap()

    def _let_everything_go(self) -> None:
        """Nobody has heard of this host for a lease, and before long others will take its tasks for lost. Two agents
        must not work in one conversation, so what runs here ends now."""
        for task, work in list(self._running.items()):
            self._let_go(task, work)

    def _let_go(self, task: str, work: Work) -> None:
        """This host was away for so long that another one has its task now."""
        if work.agent_is_done or work.task is None:
            return  # its result is about to be stored, or has just been
        if work.task.cancelling():
            return  # it is on its way out; another cancellation would only disturb its cleaning up
        log.warning("task_lost_to_another_host", task=task)
        work.task.cancel()

    async def run(self, stopping: asyncio.Event) -> None:
        """Start tasks until `stopping`; then hand back to the queue what is not nearly done."""
        loop = asyncio.get_running_loop()
        stop = loop.create_task(stopping.wait(), name="dispatcher-stop")
        try:
            while not stopping.is_set():
                self._wake.clear()
                delay = await self._start_what_fits()
                wake = loop.create_task(self._wake.wait(), name="dispatcher-wake")
                await asyncio.wait({wake, stop}, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
            await self._wind_down()
        finally:
            stop.cancel()
            await self._cancel(list(self._running.values()))

    async def _start_what_fits(self) -> float | None:
        """Start what may start now; the seconds after which to look again when the database did not answer."""
        while self.has_room():
            try:
                task = await self._begin_next()
            except SQLAlchemyError as error:
                log.warning("queue_unreadable", reason=str(error.__cause__ or error))
                return RETRY_SECONDS
            if task is None:
                return POLL_SECONDS if self._store.database.is_shared else None
            work = self._running[task.id] = Work(task.conversation)
            # Eager: what is cancelled before its first step runs no `finally`, and would keep its place for ever.
            # (Python 3.13.0 starts eagerly only when it is told the loop.)
            work.task = asyncio.Task(
                self._see_through(task, work),
                loop=asyncio.get_running_loop(),
                name=f"task-{task.id[:8]}",
                eager_start=True,
            )
        return None

    async def _begin_next(self) -> QueuedTask | None:
        async with self._events.in_order:
            task = await self._store.begin_next(tuple(self._running), self._max_concurrent_of())
            if task is not None:
                self._events.merged(task)
        return task

    async def _see_through(self, task: QueuedTask, work: Work) -> None:
        try:
            with structlog.contextvars.bound_contextvars(task=task.id):
                await self._finish(await self._result(task, work))
        except asyncio.CancelledError:
            await asyncio.shield(self._put_back(task))
            raise
        finally:
            del self._running[task.id]
            self.wake()

    async def _result(self, task: QueuedTask, work: Work) -> Finished:
        if asks_to_stop(task.request):
            work.agent_ended()
            return Finished(answer_to_wish(task, task.stopped), None, None, begun=False)
        finished = await self._runner.run(task, self._settings(task.request.repo), work)
        work.agent_ended()
        return finished

    async def stop_task(self, task: str, by: str) -> bool:
        """Stop a task, whether it runs, here or elsewhere, or waits, or the one that it was merged into; False when
        there is nothing to stop.

        Raises:
            SQLAlchemyError: the database did not answer.
        """
        if task in self._running:
            return self.stop_running(task, by)
        task = await self._store.carrier(task)
        if task in self._running:
            return self.stop_running(task, by)
        if await self._stop_waiting(await self._store.waiting(task=task), by):
            return True
        return await self._stop_elsewhere(await self._store.elsewhere(task=task), by) > 0

    def stop_running(self, task: str, by: str) -> bool:
        """Stop a task that runs on this host; False when it does not, or is nearly done."""
        work = self._running.get(task)
        return work is not None and work.stop(by)

    async def take_wish(self, wish: QueuedTask) -> None:
        """A message asked to stop its conversation: what runs ends, what waited before it is not begun."""
        by = wish.request.sender
        waiting = await self._store.waiting(conversation=wish.conversation)
        earlier = list(itertools.takewhile(lambda task: task.id != wish.id, waiting))
        stopped = await self._stop_waiting(earlier, by)
        stopped += await self._stop_elsewhere(await self._store.elsewhere(conversation=wish.conversation), by)
        running = [
            work
            for work in self._running.values()
            if work.conversation == wish.conversation and work.can_be_stopped
        ]
        # Before they end: the wish is the next task then, here or elsewhere, and its answer tells the number.
        await self._store.note_stopped(wish.id, stopped + len(running))
        for work in running:
            work.stop(by)

    async def _stop_elsewhere(self, found: Sequence[tuple[str, str]], by: str) -> int:
        return sum([await self._ask_host(host, task, by) for task, host in found])

    async def _stop_waiting(self, tasks: list[QueuedTask], by: str) -> int:
        stopped = 0
        for task in tasks:
            if await self._store.finish_waiting(never_begun(task, by), f"stopped by {by}"):
                log.info("task_stopped", task=task.id)
                stopped += 1
        if stopped:
            self._replied()
        return stopped

    async def _finish(self, finished: Finished) -> None:
        """Commit the result. A database that is locked or full is waited for: the answer is worth it."""
        delay = RETRY_SECONDS
        while True:
            try:
                await self._store.finish(
                    finished.reply, finished.reason, finished.agent_session, begun=finished.begun
                )
            except SQLAlchemyError as error:
                log.error("result_not_stored", reason=str(error.__cause__ or error))
                if is_disk_full(error):
                    self._disk_full()
                await asyncio.sleep(delay)
                delay = min(delay * 2, SLOWEST_RETRY_SECONDS)
            else:
                log.info("task_finished", outcome=finished.reply.outcome)
                self._replied()
                return

    async def _put_back(self, task: QueuedTask) -> None:
        try:
            await self._store.put_back(task.id)
        except SQLAlchemyError as error:
            # Its lease ends by itself; it then counts as interrupted.
            log.warning("task_not_put_back", reason=str(error.__cause__ or error))

    async def _reap(self) -> None:
        for task in await self._store.abandoned():
            if task.id in self._running:
                continue  # the renewal was late, but here it is
            if task.attempts < MAX_ATTEMPTS:
                log.info("task_resumed", task=task.id, attempts=task.attempts)
                async with self._events.in_order:
                    await self._store.requeue(task.id)
                    self._events.entered(task, "queued", reason="interrupted, will be tried again")
                self.wake()
            else:
                log.warning("task_given_up", task=task.id, attempts=task.attempts)
                await self._finish(Finished(_given_up(task), "interrupted too often", None, begun=True))

    async def _wind_down(self) -> None:
        """Let end what ends by itself, then what only has to be brought home; the rest goes back to the queue."""
        await self._wait(list(self._running.values()), GRACE_SECONDS)
        await self._cancel([work for work in self._running.values() if not work.agent_is_done])
        await self._wait(list(self._running.values()), FINISH_SECONDS)

    async def _wait(self, works: list[Work], seconds: float) -> None:
        tasks = [work.task for work in works if work.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def _cancel(self, works: list[Work]) -> None:
        tasks = [work.task for work in works if work.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _given_up(task: QueuedTask) -> Reply:
    text = (
        f"Airut was interrupted {task.attempts} times while it worked on this, and has given up. "
        "The workspace was kept: reply in this thread to go on."
    )
    return build_reply(task, Result("interrupted", text), duration_seconds=0)
