"""A service's life and death, each in a process of its own."""

import asyncio
import json
import os
import signal
import stat
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from airut_common.bus import Bus
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import STATUS_BUCKET, status_key
from airut_common.contracts.v1 import ServiceEvent

pytestmark = pytest.mark.integration

LIMIT = 40
PROGRAM = """
import asyncio, sys
from airut_common import lifecycle
from airut_common.bus import connect
from airut_common.config.store import NoConfiguration
from airut_common.lifecycle import Service, run_service

def say(text):
    print(text, flush=True)

class Resource:
    def __init__(self, name): self.name = name
    async def __aenter__(self): return self
    async def __aexit__(self, *_): say(f"{self.name} closed")

{body}
sys.exit(run_service("tester", main))
"""


def environment(server: NatsServer, folder: Path, **changes: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AIRUT_NATS_URL": server.url,
        "AIRUT_STATE_DIR": str(folder / "state"),
        "AIRUT_INSTALLATION": "i1",
    } | changes


class Running:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []

    async def until_said(self, text: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(LIMIT):
            while text not in self.said:
                line = await self.process.stdout.readline()
                assert line, f"ended without {text!r}: {self.said}"
                self.said.append(line.decode().strip())

    async def end(self) -> tuple[int, str]:
        """Exit code and log; what was printed is added to `said`."""
        out, err = await asyncio.wait_for(self.process.communicate(), LIMIT)
        self.said += out.decode().splitlines()
        return self.process.returncode or 0, err.decode()


@asynccontextmanager
async def running(body: str, env: dict[str, str]) -> AsyncIterator[Running]:
    program = PROGRAM.replace("{body}", textwrap.dedent(body))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_service_says_it_is_ready_and_stops_in_order(
    nats_server: NatsServer, bus: Bus, tmp_path: Path
) -> None:
    body = """
    async def loop():
        try:
            await asyncio.Event().wait()
        finally:
            say("loop ended")

    async def main(service):
        await service.exit_stack.enter_async_context(Resource("first"))
        await service.exit_stack.enter_async_context(Resource("second"))
        service.spawn("loop", loop())
        await service.ready({"http": "127.0.0.1:1"})
        say("ready")
        await service.stopping.wait()
        await service.report("warning", "late", "said while stopping")
        say("main done")
    """
    async with running(body, environment(nats_server, tmp_path)) as service:
        await service.until_said("ready")
        status = await bus.kv_get(STATUS_BUCKET, status_key("tester"))
        assert status is not None
        told = json.loads(status.value or b"")
        assert (told["pid"], told["addresses"]) == (service.process.pid, {"http": "127.0.0.1:1"})
        service.process.send_signal(signal.SIGTERM)
        code, log = await service.end()
    assert code == 0, log
    assert service.said == ["ready", "main done", "loop ended", "second closed", "first closed"]
    assert await bus.kv_get(STATUS_BUCKET, status_key("tester")) is None
    codes = []
    async for message in bus.replay(["airut.v1.event.service.tester"]):
        codes.append(ServiceEvent.decode(message.data).code)
        if message.pending == 0:
            break
    assert codes == ["ready", "late"]
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


async def test_bad_settings_are_told_all_at_once(nats_server: NatsServer, tmp_path: Path) -> None:
    env = environment(nats_server, tmp_path, AIRUT_NATS_URL="", AIRUT_LOG_FORMAT="xml")
    async with running("async def main(service): pass", env) as service:
        code, log = await service.end()
    assert code == 2
    assert [line.split()[0] for line in log.splitlines()] == ["AIRUT_NATS_URL", "AIRUT_LOG_FORMAT:"]


async def test_a_main_that_returns_ends_the_service(nats_server: NatsServer, tmp_path: Path) -> None:
    async with running("async def main(service): say('done')", environment(nats_server, tmp_path)) as service:
        code, log = await service.end()
    assert (code, service.said) == (0, ["done"]), log


async def test_a_bug_in_main_is_told_with_its_traceback(nats_server: NatsServer, tmp_path: Path) -> None:
    body = """
    async def main(service):
        await service.exit_stack.enter_async_context(Resource("it"))
        raise ZeroDivisionError("a bug")
    """
    async with running(body, environment(nats_server, tmp_path)) as service:
        code, log = await service.end()
    assert code == 1
    assert "ZeroDivisionError: a bug" in log
    assert service.said == ["it closed"]


async def test_a_loop_that_fails_ends_the_service(nats_server: NatsServer, tmp_path: Path) -> None:
    body = """
    async def loop():
        raise ZeroDivisionError("a bug in a loop")

    async def main(service):
        await service.exit_stack.enter_async_context(Resource("it"))
        service.spawn("loop", loop())
        await asyncio.Event().wait()
    """
    async with running(body, environment(nats_server, tmp_path)) as service:
        code, log = await service.end()
    assert code == 1
    assert "a bug in a loop" in log
    assert service.said == ["it closed"]


async def test_a_main_that_does_not_stop_is_cancelled_after_its_time(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    body = """
    lifecycle.STOP_SECONDS = 0.2
    async def main(service):
        await service.exit_stack.enter_async_context(Resource("it"))
        say("up")
        await asyncio.Event().wait()
    """
    async with running(body, environment(nats_server, tmp_path)) as service:
        await service.until_said("up")
        service.process.send_signal(signal.SIGINT)
        code, log = await service.end()
    assert code == 0
    assert "stop_overdue" in log
    assert service.said == ["up", "it closed"]


async def test_what_is_wrong_outside_is_one_line_without_a_traceback(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    body = """
    async def main(service):
        raise NoConfiguration("no configuration has been applied yet; run `airut apply`")
    """
    async with running(body, environment(nats_server, tmp_path)) as service:
        code, log = await service.end()
    assert code == 1
    assert "Traceback" not in log
    assert "run `airut apply`" in log

    body = "connect.CONNECT_SECONDS = 0.3\nasync def main(service): pass"
    env = environment(nats_server, tmp_path, AIRUT_NATS_URL="nats://127.0.0.1:1")
    async with running(body, env) as service:
        code, log = await service.end()
    assert code == 1
    assert "Traceback" not in log
    assert "no connection to nats://127.0.0.1:1" in log


async def test_a_service_lives_through_the_server_s_death_and_stops_without_it(
    nats_server: NatsServer, bus: Bus, tmp_path: Path
) -> None:
    body = """
    async def main(service):
        await service.ready()
        say("ready")
        await service.stopping.wait()
    """
    async with running(body, environment(nats_server, tmp_path)) as service:
        await service.until_said("ready")
        await nats_server.kill()
        service.process.send_signal(signal.SIGTERM)
        code, log = await service.end()
    assert code == 0, log
    assert "Traceback" not in log
