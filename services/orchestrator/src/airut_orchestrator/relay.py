"""From the database to the bus: each reply until it is acknowledged, then it is marked. The id makes repeats one."""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from airut_common.bus import Bus, BusUnavailable, MessageTooLarge
from airut_common.contracts.v1 import Reply, TaskState, subjects
from airut_orchestrator.database.store import Store
from airut_orchestrator.events import TaskEvents
from airut_orchestrator.replies import shortened

PUBLISH_SECONDS = 30.0
RETRY_SECONDS = 1.0

log = structlog.get_logger()


class ReplyRelay:
    """Publishes finished replies, the oldest task's first."""

    def __init__(self, bus: Bus, store: Store, events: TaskEvents) -> None:
        self._bus = bus
        self._store = store
        self._events = events
        self._wake = asyncio.Event()
        self._wake.set()

    def wake(self) -> None:
        """There is a reply to publish."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Begins with what an earlier orchestrator left unpublished."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.publish_waiting()
            except (BusUnavailable, SQLAlchemyError) as error:
                log.warning("reply_waits", reason=str(error))
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
            await self._publish(outgoing.reply)
            # Before the mark: a death in between repeats both, a death after it would lose the event.
            await self._events.finished(outgoing.reply, state, outgoing.reason)
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
