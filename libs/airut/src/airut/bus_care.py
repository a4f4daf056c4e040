"""The embedded bus after a full disk.

nats-server remembers that a write of a stream failed for as long as it lives, and refuses every later one, however much
room there is again (2.15.1). So it is started anew as soon as there is room.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

MIN_FREE_BYTES: Final = 64 * 1024 * 1024
LOOK_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 10.0
"""What the old server still says within so long is about the past."""
_WRITE_FAILED: Final = "JetStream failed to store"


class BusCare:
    """Hears what the server says, and has it started anew when that helps."""

    def __init__(self, folder: Path, restart: Callable[[], None]) -> None:
        """`folder` lies on the disk that the server writes to."""
        self._folder = folder
        self._restart = restart
        self._failing = asyncio.Event()

    def heard(self, line: str) -> None:
        """One line of the server's log."""
        if _WRITE_FAILED in line:
            self._failing.set()

    async def look_after(self) -> None:
        """Until cancelled."""
        while True:
            await self._failing.wait()
            while shutil.disk_usage(self._folder).free < MIN_FREE_BYTES:  # noqa: ASYNC110 - no kernel tells
                await asyncio.sleep(LOOK_SECONDS)
            self._restart()
            await asyncio.sleep(SETTLE_SECONDS)
            self._failing.clear()
