"""From the database to the bus: each reply until it is acknowledged, then it is marked. The id makes repeats one."""

import asyncio

import structlog

from airut_common.bus import Bus, BusUnavailable
from airut_common.contracts.v1 import Reply, TaskState, TaskStateChanged, subjects, utc_now
from airut_orchestrator.database.store import Store
from airut_orchestrator.events import TaskEvents

PUBLISH_SECONDS = 30.0
RETRY_SECONDS = 1.0

log = structlog.get_logger()


class ReplyRelay:
    """Publishes finished replies, the oldest first."""

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
            except BusUnavailable as error:
                log.warning("reply_waits", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._wake.set()

    async def publish_waiting(self) -> None:
        """Publish every reply that is not marked.

        Raises:
            BusUnavailable: the rest waits.
        """
        for reply in await self._store.unpublished():
            subject = subjects.reply(reply.channel, reply.repo)
            await self._bus.publish(subject, reply, msg_id=reply.id, timeout_seconds=PUBLISH_SECONDS)
            state = final_state(reply)
            await self._store.published(reply.id, state)
            self._events.publish(_finished(reply, state))


def final_state(reply: Reply) -> TaskState:
    """The state that an outcome leaves a task in."""
    return "failed" if reply.outcome == "refused" else reply.outcome


def _finished(reply: Reply, state: TaskState) -> TaskStateChanged:
    return TaskStateChanged(
        repo=reply.repo,
        task=reply.id,
        conversation=reply.conversation,
        at=utc_now(),
        state=state,
        outcome=reply.outcome,
        usage=reply.usage,
        reason=None if reply.outcome == "done" else reply.text.splitlines()[0][:300],
    )
