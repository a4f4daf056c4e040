"""From the database to the bus: each reply until it is acknowledged, then it is marked. The id makes repeats one."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from airut_common.bus import Bus, BusUnavailable, MessageTooLarge
from airut_common.contracts.v1 import Reply, TaskState, subjects
from airut_orchestrator.database.store import Store
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.replies import shortened
from airut_orchestrator.reserve import is_disk_full

PUBLISH_SECONDS = 30.0
RETRY_SECONDS = 1.0
POLL_SECONDS = 5.0
"""Where several hosts share a database: how often to look for answers that another one gave to a message of a
conversation that lies here."""

log = structlog.get_logger()


class ReplyRelay:
    """Publishes finished replies, the oldest task's first."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        events: TaskEvents,
        *,
        page: Callable[[str], str | None],
        disk_full: Callable[[], None],
    ) -> None:
        """`page` gives the address of a task's page, if there is one; `disk_full` makes some room, so that what was
        published can be marked."""
        self._bus = bus
        self._store = store
        self._events = events
        self._page = page
        self._disk_full = disk_full
        self._wake = asyncio.Event()
        self._wake.set()

    def wake(self) -> None:
        """There is a reply to publish."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Begins with what an earlier orchestrator left unpublished."""
        patience = POLL_SECONDS if self._store.database.is_shared else None
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), patience)
            self._wake.clear()
            try:
                await self.publish_waiting()
            except BusUnavailable as error:
                await self._later(str(error))
            except SQLAlchemyError as error:
                if is_disk_full(error):
                    self._disk_full()
                await self._later(str(error.__cause__ or error))

    async def _later(self, reason: str) -> None:
        log.warning("reply_waits", reason=reason)
        await asyncio.sleep(RETRY_SECONDS)
        self._wake.set()

    async def publish_waiting(self) -> None:
        """Publish every reply that is not marked.

        Raises:
            BusUnavailable: the rest waits.
            SQLAlchemyError: the database cannot be read or written; a reply may be published again, under the same id.
        """
        for outgoing in await self._store.unpublished():
            state = final_state(outgoing.reply)
            await self._publish(outgoing.reply.model_copy(update={"link": self._page(outgoing.answers)}))
            # Before the mark: a death in between repeats both, a death after it would lose the event. A message that
            # was merged has its last event already, or gets it with that of the task that it was merged into.
            if outgoing.answers == outgoing.reply.id:
                await self._events.finished(outgoing.reply, state, outgoing.reason, outgoing.merged)
            await self._store.published(outgoing.reply.id, state)
            log.info("reply_published", task=outgoing.reply.id, outcome=outgoing.reply.outcome)

    async def _publish(self, reply: Reply) -> None:
        subject = subjects.reply(reply.channel, reply.repo)
        try:
            await self._bus.publish(subject, reply, msg_id=reply.id, timeout_seconds=PUBLISH_SECONDS)
        except MessageTooLarge as error:
            # An operator's own bus may take less than ours. One reply must not stop all others.
            log.warning("reply_shortened", task=reply.id, reason=str(error))
            await self._bus.publish(
                subject, shortened(reply), msg_id=reply.id, timeout_seconds=PUBLISH_SECONDS
            )


def final_state(reply: Reply) -> TaskState:
    """The state that an outcome leaves a task in."""
    return "failed" if reply.outcome == "refused" else reply.outcome
