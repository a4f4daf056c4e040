"""Worker processes: sandboxes on several, one that is killed, one that hangs, and the end of the service."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from airut_common.config.credentials import MaskedCredential
from airut_common.config.models import EgressConfig, InstallationConfig
from airut_common.config.store import apply_config
from airut_common.contracts.v1 import EgressEvent, OpenSession, ServiceEvent, SessionOpened
from airut_common.contracts.v1.subjects import service_event
from airut_common.secrets import Secret
from airut_common.testing.processes import children, ended
from airut_egress.credentials import BadCredential
from airut_egress.engine import EngineSettings
from airut_egress.sessions import Credentials, SandboxNetworks, SessionRefused
from airut_egress.testing.origin import Answer, Origin
from airut_egress_proxy.sink import Sandbox
from airut_egress_proxy.workers.pool import WorkerPool
from airut_egress_proxy.workers.slot import Deadlines

from .conftest import SECRET, SERVICE, Starter, open_session, repo_config
from .test_namespace import Namespace, namespace

pytestmark = pytest.mark.integration

NAME = "api.example.test"
OTHER = "sk-ant-api03-fedcba98765432100REAL"
WAIT_SECONDS = 30.0


def holding(value: str = SECRET) -> Credentials:
    return {"API_KEY": (MaskedCredential(scopes=(NAME,)), {"API_KEY": Secret(value)})}


class Events:
    """Takes encoded events, and can be waited on."""

    def __init__(self) -> None:
        self.events: list[EgressEvent] = []
        self.dropped = 0
        self._changed = asyncio.Event()

    def record_encoded(self, origin: Sandbox, number: int, data: bytes) -> None:
        event = EgressEvent.decode(data)
        assert (event.repo, event.sandbox, event.task) == origin
        assert event.seq == number
        self.events.append(event)
        self._changed.set()

    def count_dropped(self, origin: Sandbox, count: int, last: int) -> None:
        self.dropped += count

    def of(self, sandbox: str) -> list[EgressEvent]:
        return [event for event in self.events if event.sandbox == sandbox]

    async def until(self, sandbox: str, **fields: object) -> list[EgressEvent]:
        """The events of a sandbox, as soon as there is one with these fields."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not any(fields.items() <= event.model_dump().items() for event in self.of(sandbox)):
                self._changed.clear()
                await self._changed.wait()
        return self.of(sandbox)


class Hosted:
    """A pool of two workers, and sandboxes in namespaces of their own."""

    def __init__(self, pool: WorkerPool, networks: SandboxNetworks, events: Events, folder: Path) -> None:
        self.pool = pool
        self.networks = networks
        self.events = events
        self._folder = folder

    async def pid(self, sandbox: str) -> int:
        """The process that serves a sandbox, as soon as it is up."""
        async with asyncio.timeout(WAIT_SECONDS):
            while (pid := self.pool.pids[self.pool.slot_of(sandbox)]) is None:
                await asyncio.sleep(0.01)
        return pid

    @asynccontextmanager
    async def sandbox(
        self, credentials: Credentials | None = None
    ) -> AsyncIterator[tuple[OpenSession, SessionOpened, Namespace]]:
        request = open_session()
        opened = await self.networks.open(request, holding() if credentials is None else credentials)
        folder = self._folder / request.sandbox
        folder.mkdir()
        async with namespace(folder) as inside:
            await inside.attach(opened)
            yield request, opened, inside


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin((NAME,), trustme.CA()).running() as origin:
        origin.respond = lambda seen: Answer(body=json.dumps(seen.headers).encode())
        yield origin


@asynccontextmanager
async def hosting(origin: Origin, folder: Path, deadlines: Deadlines) -> AsyncIterator[Hosted]:
    settings = EngineSettings(
        connect_to={NAME: origin.tls_address}, ca_file=origin.write_ca(folder / "upstream.pem")
    )
    events = Events()
    pool = WorkerPool(
        settings,
        workers=2,
        sink=events,
        installation_key=b"k" * 32,
        state_dir=folder / "state",
        log_format="text",
        log_level="debug",
        deadlines=deadlines,
    )
    networks = SandboxNetworks(pool, attach_socket=folder / "a.sock")
    async with pool.running(), networks.running():
        yield Hosted(pool, networks, events, folder)


@pytest.fixture
async def hosted(origin: Origin, tmp_path: Path) -> AsyncIterator[Hosted]:
    """Workers that are never suspected: nobody asks whether they are there."""
    async with hosting(origin, tmp_path, Deadlines(answer=10.0, ping=600.0)) as hosted:
        yield hosted


CLIENT = """
import http.client, json, pathlib, socket, ssl, sys
name, ca, bearer, path, stop = sys.argv[1:]
stop, context = pathlib.Path(stop), ssl.create_default_context(cafile=ca)
found = {"requests": 0, "connections": 0, "addresses": [], "statuses": []}
connection = None
while not stop.exists():
    if connection is None:
        found["addresses"].append(socket.gethostbyname(name))
        connection = http.client.HTTPSConnection(name, timeout=30, context=context)
        found["connections"] += 1
    try:
        connection.request("GET", path, headers={"authorization": "Bearer " + bearer})
        answer = connection.getresponse()
        answer.read()
        found["requests"] += 1
        if answer.status not in found["statuses"]:
            found["statuses"].append(answer.status)
        if answer.will_close:
            connection = None
    except (OSError, http.client.HTTPException):
        connection = None
print(json.dumps(found))
"""


@dataclass
class Client:
    """Sends requests one after the other on a connection that is kept, and connects again when it is cut."""

    origin: Origin
    path: str
    stop: Path
    running: asyncio.Task[str]

    @classmethod
    @asynccontextmanager
    async def of(
        cls, origin: Origin, opened: SessionOpened, inside: Namespace, path: str
    ) -> "AsyncIterator[Client]":
        stop = inside.folder / "stop"
        arguments = (NAME, str(inside.folder / "ca.pem"), opened.environment["API_KEY"], path, str(stop))
        running = asyncio.create_task(inside.run(sys.executable, "-c", CLIENT, *arguments, seconds=90))
        client = cls(origin, path, stop, running)
        try:
            await client.seen(5)
            yield client
        finally:
            stop.touch()
            await asyncio.wait([running])

    def values(self) -> list[str]:
        """The credentials that the upstream was sent, in order."""
        return [
            str(seen.header("authorization")).removeprefix("Bearer ")
            for seen in self.origin.seen
            if seen.target == self.path
        ]

    async def seen(self, more: int, value: str | None = None) -> None:
        """Return when the upstream has seen so many more requests; with this credential, if one is given."""

        def count() -> int:
            return sum(value in {None, each} for each in self.values())

        wanted = count() + more
        async with asyncio.timeout(WAIT_SECONDS):
            while count() < wanted:
                assert not self.running.done(), self.running.result()
                await asyncio.sleep(0.01)

    async def end(self) -> dict[str, Any]:
        self.stop.touch()
        found: dict[str, Any] = json.loads(await self.running)
        return found


async def test_two_sandboxes_are_on_two_workers_and_each_has_its_events(
    hosted: Hosted, origin: Origin
) -> None:
    async with hosted.sandbox() as (one, opened, inside), hosted.sandbox() as (two, _, beside):
        assert {hosted.pool.slot_of(one.sandbox), hosted.pool.slot_of(two.sandbox)} == {0, 1}
        assert await hosted.pid(one.sandbox) != await hosted.pid(two.sandbox)
        bearer = f"authorization: Bearer {opened.environment['API_KEY']}"
        answer = await inside.curl("-H", bearer, f"https://{NAME}/one")
        assert opened.environment["API_KEY"] in answer
        assert SECRET not in answer
        assert origin.seen[-1].header("authorization") == f"Bearer {SECRET}"
        assert NAME in await beside.curl(f"https://{NAME}/two")
        # Opened again, it stays where it is and has the same surrogates and token.
        assert await hosted.networks.open(one, holding()) == opened
        closed = await hosted.networks.close(one.sandbox)
        assert (closed.requests, closed.denied) == (1, 0)
    for request, path in ((one, "/one"), (two, "/two")):
        events = await hosted.events.until(request.sandbox, kind="request")
        assert [event.seq for event in events] == list(range(len(events)))
        assert [event.path for event in events if event.kind == "request"] == [path]
    assert [event.reason for event in hosted.events.of(one.sandbox)][-1] == "closed"
    assert hosted.events.dropped == 0


async def test_a_killed_worker_is_replaced_and_its_sandboxes_go_on(hosted: Hosted, origin: Origin) -> None:
    """A crash is a reset of the connections of those on that worker, and nothing to the others."""
    async with hosted.sandbox() as (one, opened, inside), hosted.sandbox() as (two, second, beside):
        resolve = "import socket; print(socket.gethostbyname('ssh.example.test'))"
        address = (await inside.run(sys.executable, "-c", resolve)).strip()
        async with (
            Client.of(origin, opened, inside, "/hit") as hit,
            Client.of(origin, second, beside, "/spared") as spared,
        ):
            killed, other = await hosted.pid(one.sandbox), await hosted.pid(two.sandbox)
            os.kill(killed, signal.SIGKILL)
            await hosted.events.until(one.sandbox, reason="resumed")
            await hit.seen(20)
            await spared.seen(20)
            found, untouched = await hit.end(), await spared.end()
        assert found["connections"] > 1
        assert len(set(found["addresses"])) == 1
        assert found["statuses"] == untouched["statuses"] == [200]
        assert untouched["connections"] == 1
        assert set(hit.values()) == {SECRET}, "the surrogate is the same, and so is what stands behind it"
        assert await hosted.pid(one.sandbox) not in {killed, other}
        assert await hosted.pid(two.sandbox) == other

        # The names behind addresses are known as before: nothing has been asked for anew.
        dial = f"import socket; socket.create_connection(('{address}', 22), 5).recv(10)"
        assert "ConnectionResetError" in await inside.run(sys.executable, "-c", dial)
        events = await hosted.events.until(
            one.sandbox, kind="connection", host="ssh.example.test", reason="port"
        )
        closed = await hosted.networks.close(one.sandbox)

    told = [event for event in events if event.kind == "request"]
    assert closed.requests == len(told), "what was counted by either worker"
    numbers = [event.seq for event in events]
    resumed = [event.reason for event in events].index("resumed")
    assert numbers == [*range(resumed), *range(resumed + 1, len(events) + 1)], (
        "one gap, where some may be lost"
    )
    requests = [event.request for event in told]
    assert requests == sorted(set(requests)), "numbers of requests are never given twice"
    assert [event.seq for event in hosted.events.of(two.sandbox)] == list(
        range(len(hosted.events.of(two.sandbox)))
    )


async def test_a_worker_that_hangs_keeps_nobody_else_waiting_and_is_replaced(
    origin: Origin, tmp_path: Path
) -> None:
    async with hosting(origin, tmp_path, Deadlines(answer=3.0, ping=600.0)) as hosted:
        async with hosted.sandbox() as (one, opened, inside):
            stopped = await hosted.pid(one.sandbox)
            os.kill(stopped, signal.SIGSTOP)
            async with hosted.sandbox() as (two, _, beside):
                assert NAME in await beside.curl(f"https://{NAME}/")
                assert hosted.pool.slot_of(two.sandbox) != hosted.pool.slot_of(one.sandbox)
                assert await hosted.pid(one.sandbox) == stopped, "nobody has missed it by now"
                # Whoever asks it something gets an answer all the same: from the one that replaces it.
                assert await hosted.networks.open(one, holding()) == opened
                assert await hosted.pid(one.sandbox) != stopped
                with pytest.raises(ProcessLookupError):
                    os.kill(stopped, 0)
                assert NAME in await inside.curl(f"https://{NAME}/")


async def test_a_worker_that_hangs_is_found_out_without_being_asked(origin: Origin, tmp_path: Path) -> None:
    async with hosting(origin, tmp_path, Deadlines(ping=0.2, silence=2.0)) as hosted:
        async with hosted.sandbox() as (one, _, inside):
            stopped = await hosted.pid(one.sandbox)
            os.kill(stopped, signal.SIGSTOP)
            await hosted.events.until(one.sandbox, reason="resumed")
            assert NAME in await inside.curl(f"https://{NAME}/")
            assert await hosted.pid(one.sandbox) != stopped


async def test_a_replaced_value_reaches_a_connection_that_is_kept(hosted: Hosted, origin: Origin) -> None:
    """Field notes 33, by way of a worker."""
    async with hosted.sandbox() as (one, opened, inside):
        async with Client.of(origin, opened, inside, "/kept") as client:
            await hosted.networks.replace_credentials(one.sandbox, holding(OTHER))
            await client.seen(10, OTHER)
            values = client.values()
            assert SECRET not in values[values.index(OTHER) :]
            await hosted.networks.replace_credentials(one.sandbox, {})
            await hosted.events.until(one.sandbox, kind="request", decision="deny", reason="credential")
            before = len(client.values())
            found = await client.end()
        assert len(client.values()) == before
        assert found["statuses"] == [200, 403]
        assert await hosted.networks.open(one, holding()) == opened


async def test_what_was_taken_away_stays_away_when_the_worker_dies(hosted: Hosted, origin: Origin) -> None:
    """The surrogate of a credential that was removed is refused, not passed on, by the next worker as well."""
    async with hosted.sandbox() as (one, opened, inside):
        bearer = f"authorization: Bearer {opened.environment['API_KEY']}"
        await hosted.networks.replace_credentials(one.sandbox, {})
        os.kill(await hosted.pid(one.sandbox), signal.SIGKILL)
        await hosted.events.until(one.sandbox, reason="resumed")
        refused = json.loads(await inside.curl("-H", bearer, f"https://{NAME}/"))
        assert refused["obstacle"] == "credential"
        assert origin.seen == []


async def test_a_change_is_not_said_to_be_in_force_before_it_is(origin: Origin, tmp_path: Path) -> None:
    """A worker that does not answer is ended before anybody is told that a value counts no longer."""
    async with hosting(origin, tmp_path, Deadlines(answer=2.0, ping=600.0)) as hosted:
        async with hosted.sandbox() as (one, opened, inside):
            async with Client.of(origin, opened, inside, "/kept") as client:
                stopped = await hosted.pid(one.sandbox)
                os.kill(stopped, signal.SIGSTOP)
                await hosted.networks.replace_credentials(one.sandbox, holding(OTHER))
                with pytest.raises(ProcessLookupError):
                    os.kill(stopped, 0)
                await client.seen(10, OTHER)
                values = client.values()
                assert SECRET not in values[values.index(OTHER) :]


async def test_refusals_come_from_workers_as_from_an_engine(hosted: Hosted) -> None:
    with pytest.raises(SessionRefused, match=r"network-allowlist.yaml:2") as bad:
        await hosted.networks.open(open_session(policy="domains:\n  - 'api example'\n"), {})
    assert bad.value.code == "invalid_policy"
    with pytest.raises(SessionRefused, match="API_KEY") as unused:
        await hosted.networks.open(open_session(policy="domains: [other.example.test]\n"), holding())
    assert unused.value.code == "unusable_credential"
    assert not hosted.networks.sessions
    with pytest.raises(ValueError, match="not-a-network"):
        await hosted.pool.reconfigure(EngineSettings(allow_networks=["not-a-network"]))
    async with hosted.sandbox() as (one, _, inside):
        with pytest.raises(BadCredential):
            await hosted.networks.replace_credentials(one.sandbox, holding("short"))
        assert NAME in await inside.curl(f"https://{NAME}/")
        await hosted.pool.reconfigure(EngineSettings())
        told = await inside.curl(f"https://{NAME}/")
        assert json.loads(told)["obstacle"] in {"upstream-unknown", "upstream-unreachable"}


def core_limits(pid: int) -> list[str]:
    """Soft and hard."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in limits if line.startswith("Max core file size")).split()[4:6]


async def test_workers_end_with_the_service_and_hold_no_secrets_in_the_open(starter: Starter) -> None:
    repos = {"demo": repo_config("API_KEY")}
    await apply_config(starter.bus, InstallationConfig(egress=EgressConfig(workers=3), repos=repos))
    async with starter.running() as proxy:
        await proxy.set_secret("API_KEY", SECRET)
        async with asyncio.timeout(WAIT_SECONDS):
            while not isinstance(await proxy.open(open_session()), SessionOpened):
                await asyncio.sleep(0.05)
        workers = children(proxy.process.pid)
        assert len(workers) == 3
        for pid in workers:
            shown = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
            assert SECRET.encode() not in shown
            assert b"AIRUT_" not in shown
            # One that is still starting has not been told anything yet.
            async with asyncio.timeout(WAIT_SECONDS):
                while core_limits(pid) != ["0", "0"]:
                    await asyncio.sleep(0.05)
        os.kill(workers[0], signal.SIGSTOP)  # even one that hangs
        os.kill(proxy.process.pid, signal.SIGKILL)
        await proxy.process.wait()
        await ended(workers)


async def test_one_worker_is_the_service_itself_and_another_number_takes_a_restart(starter: Starter) -> None:
    alone = InstallationConfig(egress=EgressConfig(workers=1), repos={"demo": repo_config()})
    await apply_config(starter.bus, alone)
    async with starter.running() as proxy:
        assert isinstance(await proxy.open(open_session()), SessionOpened)
        assert children(proxy.process.pid) == []
        await apply_config(starter.bus, alone.model_copy(update={"egress": EgressConfig(workers=2)}))
        async with asyncio.timeout(WAIT_SECONDS):
            async with contextlib.aclosing(proxy.bus.replay([service_event(SERVICE)])) as said:
                async for message in said:
                    event = ServiceEvent.decode(message.data)
                    if event.code == "restart_needed":
                        break
        assert (event.level, "egress.workers" in event.text) == ("warning", True)
        assert children(proxy.process.pid) == []
