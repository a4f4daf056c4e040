"""The disk is nearly full: new work is refused, and the operator is told when that begins and when it ends."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import structlog

from airut_common.lifecycle import Report

CODE = "disk_low"
LOOK_SECONDS = 30.0

log = structlog.get_logger()


class DiskAlarm:
    """Watches the file system that holds `folder`."""

    def __init__(self, folder: Path, host: str, min_free_mib: Callable[[], int], report: Report) -> None:
        self._folder = folder
        self._host = host
        self._min_free_mib = min_free_mib
        self._report = report
        self._low = False

    async def watch(self) -> None:
        """Until cancelled: look every half minute."""
        while True:
            await self.look(shutil.disk_usage(self._folder).free // 2**20)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, free_mib: int) -> None:
        """Tell it, if it has changed. It is over with a tenth more than what is wanted, so that it does not flutter."""
        wanted = self._min_free_mib()
        if not self._low and free_mib < wanted:
            self._low = True
            log.error(CODE, free_mib=free_mib, wanted_mib=wanted)
            text = (
                f"the disk of {self._host} has {free_mib} MiB left, below sandbox.min_free_mib ({wanted}): new tasks "
                f"are refused until there is room; see `airut gc` and docs/operations.md"
            )
            await self._report("error", CODE, text)
        elif self._low and free_mib >= wanted * 1.1:
            self._low = False
            await self._report("info", CODE, f"the disk of {self._host} has room again: {free_mib} MiB")
