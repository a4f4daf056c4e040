"""Fan-out of changes to open pages. A page that reads too slowly is cut off and comes back by itself."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from airut_dashboard.model import Change

QUEUE_SIZE = 1000
MAX_PAGES = 200


class TooManyPages(Exception):
    """The limit of open pages is reached."""


@dataclass(eq=False)
class Subscription:
    """One open page. `task` None follows all tasks."""

    task: str | None
    queue: asyncio.Queue[Change | None] = field(default_factory=lambda: asyncio.Queue(QUEUE_SIZE + 1))
    """None ends the page's stream; the browser reconnects and is brought up to date."""
    ended: bool = False

    def offer(self, change: Change | None) -> None:
        """Hand over without waiting; a full queue ends the subscription."""
        if self.ended:
            return
        if change is not None and self.queue.qsize() < QUEUE_SIZE:
            self.queue.put_nowait(change)
            return
        self.ended = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Feed:
    """All open pages."""

    def __init__(self) -> None:
        self._pages: set[Subscription] = set()

    @contextmanager
    def subscribe(self, task: str | None = None) -> Iterator[Subscription]:
        """Follow one task, or all.

        Raises:
            TooManyPages: when `MAX_PAGES` are open.
        """
        if len(self._pages) >= MAX_PAGES:
            raise TooManyPages
        page = Subscription(task)
        self._pages.add(page)
        try:
            yield page
        finally:
            self._pages.discard(page)

    def publish(self, change: Change) -> None:
        """Tell every page that follows the change's task."""
        for page in list(self._pages):
            if page.task in {None, change.task}:
                page.offer(change)

    def close(self) -> None:
        """End every page's stream: the service stops."""
        for page in list(self._pages):
            page.offer(None)
