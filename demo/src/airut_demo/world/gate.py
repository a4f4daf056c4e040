"""For tests of what happens in the middle of an answer."""

import asyncio
from dataclasses import dataclass, field


@dataclass
class Gate:
    """A place in answers where they wait until it is opened."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def passed(self) -> None:
        """Say that an answer is here, and wait."""
        self.reached.set()
        await self.opened.wait()
