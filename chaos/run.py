"""One run from a seed: an installation, people who write to it, misfortunes, and the verdict."""

import asyncio
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.blows import Striker
from chaos.invariants import (
    answers,
    check_events,
    check_leftovers,
    check_logs,
    check_order,
    check_processes,
    check_replies,
    is_settled,
    read_tasks,
)
from chaos.people import People
from chaos.plan import Plan
from chaos.site import Site, open_site

SETTLE_SECONDS: Final = 420.0
LEFTOVER_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    seed: int
    accepted: int
    outcomes: Mapping[str, int]
    """Final state to the number of tasks."""
    hit: Mapping[tuple[str, str], int]
    """Kind and target of blows to how many there were."""
    copies: int
    """Answers that came once more as the same mail to the byte, which mail programs show once: the relay had taken
    them, and the gateway died before it knew."""
    seconds: float
    broken: tuple[str, ...]
    """Invariants that do not hold, in words."""

    @property
    def kills(self) -> int:
        """How many processes and containers were killed."""
        return sum(count for (kind, _), count in self.hit.items() if kind == "kill")


async def run_plan(plan: Plan, *, keep: Path | None = None) -> Outcome:
    """Run it. With `keep`, the installation's log and database are copied there."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="airut-chaos-"))
    try:
        async with open_site(folder) as site:
            people, striker = People(site), Striker(site)
            try:
                broken = await _suffer(plan, site, people, striker)
            finally:
                if keep is not None:
                    await asyncio.to_thread(_keep, site, keep)
            tasks = read_tasks(site.orchestrator / "orchestrator.db")
            installation = site.installation.id
            await site.installation.stop()
            broken += check_processes(installation)
            if await site.containers():
                broken.append("containers are left after the stop")
            copies = answers(site.world.mailbox.messages).values()
            return Outcome(
                seed=plan.seed,
                accepted=len(people.accepted),
                outcomes=Counter(task.state for task in tasks),
                hit=striker.hit,
                copies=sum(found.total() - len(found) for found in copies),
                seconds=time.monotonic() - began,
                broken=tuple(broken),
            )
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _suffer(plan: Plan, site: Site, people: People, striker: Striker) -> list[str]:
    broken: list[str] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(striker.strike(plan.blows))
            for thread in plan.threads:
                group.create_task(people.write(thread), name=thread.name)
    except* TimeoutError:
        broken.append("the first answer of a thread did not come")
    if not await _settles(site, people):
        broken.append(f"not everything was over {SETTLE_SECONDS:g} s after the last mail")
    tasks = await asyncio.to_thread(read_tasks, site.orchestrator / "orchestrator.db")
    mails = site.world.mailbox.messages
    broken += [f"refused: {words}" for words in people.refused]
    broken += check_replies(people.accepted, tasks, mails)
    broken += check_order(people.accepted, tasks)
    broken += check_logs(site)
    broken += await check_events(site, tasks)
    return broken + await _leftovers(site)


async def _settles(site: Site, people: People) -> bool:
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        try:
            tasks = await asyncio.to_thread(read_tasks, site.orchestrator / "orchestrator.db")
        except sqlite3.OperationalError:
            tasks = []  # it is being written to
        if tasks and is_settled(people.accepted, tasks, site.world.mailbox.messages):
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False


async def _leftovers(site: Site) -> list[str]:
    """What a service that has just come back still takes away is not left over: it has a while."""
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while True:
        tasks = await asyncio.to_thread(read_tasks, site.orchestrator / "orchestrator.db")
        found = await check_leftovers(site, tasks)
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(_LOOK_SECONDS)


def _keep(site: Site, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(site.installation.log_file, keep / "up.log")
    for name in ("orchestrator.db", "orchestrator.db-wal"):
        if (site.orchestrator / name).exists():
            shutil.copyfile(site.orchestrator / name, keep / name)
