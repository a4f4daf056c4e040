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
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(resident_kib(int(child)) for child in children)


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
    print(json.dumps({"loud": loud, "quiet": quiet, "grown_mib": round(memory.grown_mib, 1)}))
    return result


async def test_row_35_ten_thousand_connections_are_refused_at_once_beyond_the_limit(beside: Beside) -> None:
    seen = beside.loud["connections"]
    assert 200 <= seen["held"] <= 256
    assert seen["held"] + seen["refused"] == 10_000


async def test_rows_35_and_37_they_are_an_event_and_a_count(beside: Beside) -> None:
    reasons = [event["reason"] for event in beside.events if event["reason"].startswith("connections")]
    assert "connections" in reasons
    assert len(reasons) < 100
    counted = sum(1 if reason == "connections" else int(reason.split()[1]) for reason in reasons)
    assert counted >= beside.loud["connections"]["refused"]


async def test_row_35_the_memory_of_the_proxy_stays_bounded(beside: Beside) -> None:
    assert beside.memory.grown_mib < MEMORY_MIB


async def test_row_35_another_sandbox_works_beside_ten_thousand_connections(beside: Beside) -> None:
    assert beside.quiet["beside_idle"]["median"] < SLOWER * beside.quiet["alone"]["median"]


async def test_row_35_another_sandbox_works_beside_a_flood(beside: Beside) -> None:
    assert beside.loud["busy"]["lost"] < 20, "it was no flood"
    assert beside.quiet["beside_busy"]["median"] < SLOWER * beside.quiet["alone"]["median"]


async def test_row_22_ten_gigabytes_end_at_the_upload_limit(beside: Beside) -> None:
    assert beside.loud["ten_gigabytes_known"] == "413"
    assert beside.loud["ten_gigabytes_chunked"] == "cut"
