"""The demo as a person starts it: real services, real containers, the real agent; two at once, and cut short."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from airut_sandbox.podman import probe_podman

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


@dataclass
class Run:
    """One demo in a folder of its own."""

    process: asyncio.subprocess.Process
    folder: Path
    lines: list[str] = field(default_factory=list)

    async def until(self, wanted: str, seconds: float = 600) -> str:
        """Read on until a line holds `wanted`."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while line := (await self.process.stdout.readline()).decode():
                self.lines.append(line)
                if wanted in line:
                    return line
        raise AssertionError(f"no {wanted!r} in:\n{''.join(self.lines)}")

    async def end(self, seconds: float = 600) -> int:
        """Read to the end; answers the exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            self.lines += (await self.process.stdout.read()).decode().splitlines(keepends=True)
            return await self.process.wait()

    @property
    def printed(self) -> str:
        return "".join(self.lines)

    @property
    def installation(self) -> str:
        return str(json.loads((self.folder / ".airut-demo/state/installation.json").read_text())["id"])


@asynccontextmanager
async def _demo(folder: Path, **environment: str) -> AsyncIterator[Run]:
    folder.mkdir()
    env = {
        name: value for name, value in os.environ.items() if name not in {"ANTHROPIC_API_KEY", "DEMO_EXIT"}
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "airut_demo"),
        cwd=folder,
        env=env | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield Run(process, folder)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait_for(process.wait(), 120)


async def _nothing_left(run: Run) -> None:
    state = str(run.folder / ".airut-demo")
    alive = [
        entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and _mentions(entry, state)
    ]
    assert not alive
    podman = await probe_podman(run.folder / "podman", runtime=None)
    for what in (("ps", "--all"), ("image", "ls", "--all")):
        done = await podman.run(*what, f"--filter=label=airut.installation={run.installation}", "--quiet")
        assert not done.stdout.strip()


def _mentions(process: Path, text: str) -> bool:
    try:
        return text.encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    except OSError:
        return False


async def test_two_demos_side_by_side_and_ctrl_c(tmp_path: Path) -> None:
    async with _demo(tmp_path / "one") as one, _demo(tmp_path / "other", DEMO_EXIT="1") as other:
        stays = await one.until("The dashboard stays at")
        assert await other.end() == 0, other.printed
        for run in (one, other):
            assert "Done: everything was as it must be" in run.printed
            assert "✗" not in run.printed
            assert "refused: 550" in run.printed
            assert re.search(r"deny +403 +GET +exfil\.demo\.example", run.printed)
        await _nothing_left(other)
        # The first is untouched by the end of the second.
        found = re.search(r"http://\S+", stays)
        assert found is not None
        async with httpx.AsyncClient(trust_env=False) as client:
            assert len((await client.get(f"{found.group()}/api/v1/tasks")).json()) == 2
        one.process.send_signal(signal.SIGINT)
        assert await one.end(120) == 0, one.printed
        await _nothing_left(one)


async def test_a_demo_that_is_cut_short_leaves_nothing_running(tmp_path: Path) -> None:
    async with _demo(tmp_path / "cut", DEMO_EXIT="1") as run:
        await run.until("agent:")
        run.process.terminate()
        assert await run.end(120) == 130, run.printed
        assert "Traceback" not in run.printed
        await _nothing_left(run)


async def test_the_services_of_a_killed_demo_end_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    async with _demo(tmp_path / "killed", DEMO_EXIT="1") as run:
        await run.until("agent:")
        installation = run.installation
        run.process.kill()
        await run.end(60)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "airut_demo"),
        cwd=tmp_path / "killed",
        env=os.environ | {"DEMO_EXIT": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    again = Run(process, tmp_path / "killed")
    assert await again.end() == 0, again.printed
    assert again.installation != installation
    podman = await probe_podman(tmp_path / "podman", runtime=None)
    for what in (("ps", "--all"), ("image", "ls", "--all")):
        done = await podman.run(*what, f"--filter=label=airut.installation={installation}", "--quiet")
        assert not done.stdout.strip()
