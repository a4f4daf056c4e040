"""One sandbox beside another, in two real containers: what a hostile one can do to the other (field notes 32, 35)."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from airut_common.testing.processes import children

from .attacks import NEIGHBOURS
from .conftest import ALL, Site, bash, text_of

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

LOUD, QUIET = "A loud neighbour", "A quiet neighbour"
MEMORY_MIB = 500
"""What the floods of one sandbox may add to the proxy: a few hundred connections with full buffers."""
SLOWER = 25
"""How many times as long a request of the quiet one may take. Without turns it was hundreds."""


@dataclass
class Memory:
    """Resident memory of the proxy while somebody looks."""

    samples: list[int] = field(default_factory=list)

    @property
    def grown_mib(self) -> float:
        return (max(self.samples) - self.samples[0]) / 1024


def resident_kib(pid: int) -> int:
    """Of a process and its children."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return own + sum(resident_kib(child) for child in children(pid))


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Memory]:
    memory = Memory([resident_kib(pid)])

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.1)
            memory.samples.append(resident_kib(pid))

    watching = asyncio.create_task(watch())
    try:
        yield memory
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@dataclass
class Beside:
    """What both found, what the proxy took, and the network log of the loud one."""

    loud: Mapping[str, Any]
    quiet: Mapping[str, Any]
    memory: Memory
    events: list[Mapping[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def beside(site: Site) -> Beside:
    async def found(role: str, subject: str) -> Mapping[str, Any]:
        answer = await site.ask(
            bash(f"python3 neighbours.py {role} > /outbox/found.json"), ALL, subject=subject
        )
        attached = list(answer.iter_attachments())
        said = attached[0].get_payload(decode=True) if attached else b""
        assert said, text_of(answer)
        return json.loads(said)

    async with watched(site.processes()["egress-proxy"]) as memory:
        loud, quiet = await asyncio.gather(found("loud", LOUD), found("quiet", QUIET))
    task = await site.task_of(LOUD)
    result = Beside(loud, quiet, memory, await site.api(f"/tasks/{task['id']}/network"))
    print(
        json.dumps(
            {
                "loud": loud,
                "quiet": quiet,
                "grown_mib": round(memory.grown_mib, 1),
                "judged": sum(event["reason"] == "graphql" for event in result.events),
            }
        )
    )
    return result


def verdicts(found: Beside) -> dict[str, str]:
    """What became of each attempt, in the words of the catalogue where it went as it should."""
    seen, alone = found.loud["connections"], found.quiet["alone"]["median"]
    reasons = [event["reason"] for event in found.events if event["reason"].startswith("connections")]
    counted = sum(1 if reason == "connections" else int(reason.split()[1]) for reason in reasons)
    judged = sum(event["reason"] == "graphql" for event in found.events)
    held, slower = (
        seen["held"],
        {name: found.quiet[name]["median"] / alone for name in ("beside_idle", "beside_busy")},
    )

    def said(good: bool, words: str, instead: object) -> str:
        return words if good else str(instead)

    complete = held + seen["refused"] == 10_000
    return {
        # Some are the agent's own; fewer than most of them would mean that they had not stayed open at all.
        "ten_thousand_connections": said(complete and 200 <= held <= 256, "256 at most stay open", seen),
        "ten_thousand_events": said(
            "connections" in reasons and len(reasons) < 50 and counted >= seen["refused"],
            "events and counts",
            reasons,
        ),
        "beside_connections": said(slower["beside_idle"] < SLOWER, "it works", slower),
        "beside_a_flood": said(
            slower["beside_busy"] < SLOWER and found.loud["busy"]["lost"] < 20 and judged > 0,
            "it works",
            (slower, found.loud["busy"], judged),
        ),
        "memory": said(found.memory.grown_mib < MEMORY_MIB, "bounded", found.memory.grown_mib),
    } | {name: text for name, text in found.loud.items() if isinstance(text, str)}


CATALOGUE = {attack.name: attack for attack in NEIGHBOURS}


@pytest.mark.parametrize("name", CATALOGUE)
async def test_the_attack_ends_as_the_catalogue_says(beside: Beside, name: str) -> None:
    assert verdicts(beside)[name] == CATALOGUE[name].outcome


async def test_every_attempt_is_in_the_catalogue(beside: Beside) -> None:
    assert verdicts(beside).keys() == CATALOGUE.keys()


async def test_row_32_what_was_borrowed_reached_the_upstream_as_it_was(site: Site, beside: Beside) -> None:
    assert beside.loud["borrowed_note"] == "200"
    (seen,) = [seen for seen in site.origin.seen if seen.target == "/borrowed"]
    note = seen.header("x-note") or ""
    assert note.startswith("the key sk-ant-")
    assert site.world.api_key not in note
    assert site.world.git_token not in note
