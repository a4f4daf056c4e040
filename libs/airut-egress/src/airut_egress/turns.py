"""Sandboxes take turns: whatever one of them keeps busy, the others wait for one step of it at most.

One event loop serves all sandboxes. Left alone it works off what is ready, so two hundred busy connections of one
sandbox stand two hundred times before the single connection of another. Here each sandbox gets one step (a read that
goes through the layers, a request that is judged, a connection that is accepted) in each pass of the loop.
"""

import asyncio
import collections
from collections.abc import Hashable


class Turns:
    """One for an event loop. Those who wait are served in order, and sandboxes in rotation."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, collections.deque[asyncio.Future[None]]] = {}
        self._given = False
        """Whether a turn was given in this pass of the loop."""

    async def take(self, who: Hashable) -> None:
        """Return when it is this sandbox's turn. A caller that is cancelled leaves the queue."""
        loop = asyncio.get_running_loop()
        if not self._given:
            self._given = True
            loop.call_soon(self._next)
            return
        turn = loop.create_future()
        self._waiting.setdefault(who, collections.deque()).append(turn)
        await turn

    def _next(self) -> None:
        """Give each sandbox one turn. Those who get it run in the next pass, before the next call of this."""
        self._given = False
        for who, queue in tuple(self._waiting.items()):
            while queue and not self._give(queue.popleft()):
                pass  # it was cancelled while it waited
            if not queue:
                del self._waiting[who]
        if self._given:
            asyncio.get_running_loop().call_soon(self._next)

    def _give(self, turn: asyncio.Future[None]) -> bool:
        if turn.done():
            return False
        turn.set_result(None)
        self._given = True
        return True
