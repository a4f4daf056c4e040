"""Worker processes: sandboxes on several, one that is killed, one that hangs, and the end of the service."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from airut_common.config.credentials import MaskedCredential
from airut_common.contracts.v1 import EgressEvent, OpenSession, SessionOpened
from airut_common.secrets import Secret
from airut_egress.engine import EngineSettings
from airut_egress.sessions import Credentials, SandboxNetworks
from airut_egress.testing.origin import Answer, Origin
from airut_egress_proxy.sink import Sandbox
from airut_egress_proxy.workers.pool import WorkerPool
from airut_egress_proxy.workers.slot import Deadlines

from .conftest import SECRET, open_session
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


@pytest.fixture
async def hosted(origin: Origin, tmp_path: Path) -> AsyncIterator[Hosted]:
    settings = EngineSettings(
        connect_to={NAME: origin.tls_address}, ca_file=origin.write_ca(tmp_path / "upstream.pem")
    )
    events = Events()
    pool = WorkerPool(
        settings,
        workers=2,
        sink=events,
        installation_key=b"k" * 32,
        state_dir=tmp_path / "state",
        log_format="text",
        log_level="debug",
        deadlines=Deadlines(answer=2.0),
    )
    networks = SandboxNetworks(pool, attach_socket=tmp_path / "a.sock")
    async with pool.running(), networks.running():
        yield Hosted(pool, networks, events, tmp_path)


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
