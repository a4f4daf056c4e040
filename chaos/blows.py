"""Misfortunes, as they happen to real processes, disks, wires and clocks."""

import asyncio
import contextlib
import os
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from airut_common.processes import run
from chaos.plan import CONTAINER, Blow
from chaos.site import Site

log = structlog.get_logger()


class Striker:
    """Strikes when the plan says so, and counts what hit."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.hit: Counter[tuple[str, str]] = Counter()
        """By kind and target. A blow that finds nobody is not counted."""

    async def strike(self, blows: Sequence[Blow]) -> None:
        """Every blow at its time; returns when the last one is over, and nothing is held down any more."""
        began = asyncio.get_running_loop().time()
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            for blow in blows:
                await asyncio.sleep(began + blow.at_seconds - asyncio.get_running_loop().time())
                group.create_task(self._strike(blow), name=f"{blow.kind} {blow.target}")

    async def _strike(self, blow: Blow) -> None:
        if await self._hits(blow):
            self.hit[blow.kind, blow.target] += 1
            log.info("blow", kind=blow.kind, target=blow.target, seconds=round(blow.seconds, 1))

    async def _hits(self, blow: Blow) -> bool:
        match blow.kind:
            case "kill":
                return await self._signal(blow, signal.SIGKILL)
            case "pause":
                return await self._pause(blow)
            case "cut the bus":
                return await self._cut_the_bus(blow.seconds)
            case "fill the disk":
                return await asyncio.to_thread(self._fill) and await self._empty_after(blow.seconds)
            case "skew the clock":
                self._site.clock(blow.target).write_text(f"{blow.seconds:+.0f}\n")
                return True

    async def _victim(self, target: str) -> int | None:
        if target != CONTAINER:
            return self._site.installation.processes().get(target)
        for container in await self._site.containers():
            found = await self._site.podman.run("inspect", "--format={{.State.Pid}}", container, check=False)
            if (pid := int(found.stdout.strip() or 0)) > 0:
                return pid
        return None

    async def _signal(self, blow: Blow, number: signal.Signals) -> bool:
        pid = await self._victim(blow.target)
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    async def _pause(self, blow: Blow) -> bool:
        pid = await self._victim(blow.target)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(blow.seconds)
        except ProcessLookupError:
            return False
        finally:
            # It may have been killed meanwhile, and its number may not have been given away yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return True

    async def _cut_the_bus(self, seconds: float) -> bool:
        port = (self._site.state / "nats" / "port").read_text("ascii").strip()
        async with _rule(f"tcp dport {port} reject with tcp reset"):
            await asyncio.sleep(seconds)
        return True

    def _fill(self) -> bool:
        free = os.statvfs(self._site.state)
        try:
            with (self._site.state / "filler").open("ab") as filler:
                os.posix_fallocate(filler.fileno(), 0, max(free.f_bavail * free.f_frsize, 1))
        except OSError:
            return False  # somebody else was quicker: what is left is not much
        return True

    async def _empty_after(self, seconds: float) -> bool:
        try:
            await asyncio.sleep(seconds)
        finally:
            (self._site.state / "filler").unlink(missing_ok=True)
        return True


@asynccontextmanager
async def _rule(rule: str) -> AsyncIterator[None]:
    """A rule of the host's firewall, in a table of its own."""
    table = f"airut_chaos_{secrets.token_hex(4)}"
    text = f"table inet {table} {{ chain out {{ type filter hook output priority 0; oif lo {rule}; }}; }}"
    await run(["nft", "-f", "-"], timeout_seconds=30, stdin=text.encode())
    try:
        yield
    finally:
        await run(["nft", "delete", "table", "inet", table], timeout_seconds=30)
