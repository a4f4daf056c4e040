"""Tells the author of a message, through his channel, that it was taken."""

from collections.abc import Callable
from typing import Literal

from airut_common.bus import Bus
from airut_common.contracts.v1 import Acknowledgement, subjects, utc_now
from airut_orchestrator.database.store import QueuedTask


class Acknowledger:
    """Publishes one acknowledgement for each task, if the configuration wants them."""

    def __init__(self, bus: Bus, *, wanted: Callable[[], bool], page: Callable[[str], str | None]) -> None:
        """`page` gives the address of a task's page, if there is one."""
        self._bus = bus
        self._wanted = wanted
        self._page = page

    def wants(self, channel: str) -> bool:
        """Whether messages of this channel are acknowledged now: nobody reads what a schedule would be told."""
        return channel == "email" and self._wanted()

    async def __call__(self, task: QueuedTask, waits_for: Literal["turn", "slot"] | None) -> None:
        """Publish it; the stream keeps one of a task, however often it is published.

        Raises:
            BusUnavailable: it is not known to be stored.
        """
        request = task.request
        taken = Acknowledgement(
            id=task.id,
            repo=request.repo,
            channel=request.channel,
            conversation=task.conversation,
            place=task.place or 1,
            waits_for=waits_for,
            link=self._page(task.id),
            route=request.route,
            created_at=utc_now(),
        )
        subject = subjects.acknowledgement(request.channel, request.repo)
        await self._bus.publish(subject, taken, msg_id=f"taken-{task.id}")
