"""How every service lives and dies: settings, log, bus, signals, named loops, an ordered stop, an exit code."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal

import structlog

from airut_common.bus import Bus, BusTooOld, BusUnavailable, open_bus
from airut_common.bus.topology import STATUS_BUCKET, status_key
from airut_common.config.store import NoConfiguration
from airut_common.contracts.v1 import ServiceEvent, utc_now
from airut_common.contracts.v1.subjects import service_event
from airut_common.log import configure_logging
from airut_common.settings import ServiceSettings, SettingsError

STOP_SECONDS = 25.0
"""How long `main` may take to finish once it has been asked to."""

GOODBYE_SECONDS = 2.0

Report = Callable[[Literal["info", "warning", "error"], str, str], Awaitable[None]]
"""`Service.report`: level, code, text."""

log = structlog.get_logger()


class CannotRun(Exception):
    """A service cannot begin, and nothing is wrong in it: the text is all that helps."""


class Service:
    """What a service's `main` works with."""

    def __init__(self, name: str, settings: ServiceSettings, bus: Bus, group: asyncio.TaskGroup) -> None:
        self.name = name
        self.settings = settings
        self.bus = bus
        self.stopping = asyncio.Event()
        """Set when the service is asked to stop: take no new work, finish, return."""
        self.exit_stack = AsyncExitStack()
        """Closed after `main` and all loops have ended, while the bus is still there."""
        self._group = group
        self._loops: set[asyncio.Task[None]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a named loop beside `main`. If it fails, the service stops with an error."""
        task = self._group.create_task(work, name=name)
        self._loops.add(task)
        task.add_done_callback(self._loops.discard)
        return task

    async def ready(self, addresses: Mapping[str, str] | None = None) -> None:
        """Say on the bus that this service works, and where it listens."""
        said = {"at": utc_now().isoformat(), "pid": os.getpid(), "addresses": dict(addresses or {})}
        await self.bus.kv_put(
            STATUS_BUCKET, status_key(self.name, self.settings.host), json.dumps(said).encode()
        )
        await self.report("info", "ready", f"{self.name} is ready")
        log.info("ready", **(addresses or {}))

    async def report(
        self, level: Literal["info", "warning", "error"], code: str, text: str, repo: str | None = None
    ) -> None:
        """Publish something an operator should see. Never waits for the bus."""
        event = ServiceEvent(service=self.name, at=utc_now(), level=level, code=code, text=text, repo=repo)
        if not self.bus.publish_soon(service_event(self.name), event):
            log.warning("report_dropped", code=code)

    async def end_loops(self) -> None:
        """Cancel what still runs beside `main`."""
        for task in list(self._loops):
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)


def run_service(name: str, main: Callable[[Service], Awaitable[None]]) -> int:
    """Run a service to its end and return the process's exit code: 0 stopped as asked, 1 failed, 2 bad settings."""
    try:
        settings = ServiceSettings.from_env(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logging(name, log_format=settings.log_format, level=settings.log_level)
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.state_dir.chmod(0o700)  # it may have been there, with other rights
    code = 0
    try:
        asyncio.run(_run(name, settings, main))
    except* (BusUnavailable, BusTooOld, NoConfiguration, CannotRun) as outside:
        # Nothing is wrong in here, so no traceback: the reason is all that helps.
        log.error("cannot_run", reason=_reasons(outside))
        code = 1
    except* Exception as bugs:
        log.error("service_failed", exc_info=bugs)
        code = 1
    return code


def _reasons(group: BaseExceptionGroup[Exception]) -> str:
    texts = (_reasons(e) if isinstance(e, BaseExceptionGroup) else str(e) for e in group.exceptions)
    return "; ".join(texts)


async def _run(name: str, settings: ServiceSettings, main: Callable[[Service], Awaitable[None]]) -> None:
    closed = asyncio.Event()
    async with open_bus(
        settings.nats_url, name=name, nkey_seed_file=settings.nkey_seed_file, on_closed=closed.set
    ) as bus:
        async with asyncio.TaskGroup() as group:
            service = Service(name, settings, bus, group)
            _stop_on_signals(service)
            watch = group.create_task(_fail_when_closed(closed), name="bus-closed")
            async with service.exit_stack:
                try:
                    await _main_with_deadline(service, main)
                finally:
                    await service.end_loops()
            watch.cancel()
        with contextlib.suppress(BusUnavailable, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await bus.kv_delete(STATUS_BUCKET, status_key(name, settings.host))
    log.info("stopped")


async def _main_with_deadline(service: Service, main: Callable[[Service], Awaitable[None]]) -> None:
    async def run() -> None:
        await main(service)

    work = asyncio.get_running_loop().create_task(run(), name=f"{service.name}-main")
    stop = asyncio.get_running_loop().create_task(service.stopping.wait(), name="stopping")
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await asyncio.wait({work}, timeout=STOP_SECONDS)
        if not work.done():
            log.warning("stop_overdue", seconds=STOP_SECONDS)
            return
        await work
    finally:
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)


async def _fail_when_closed(closed: asyncio.Event) -> None:
    await closed.wait()
    raise BusUnavailable("the connection to the bus was closed for good")


def _stop_on_signals(service: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stopping.set)
