"""The whole service as a process, on a real bus, with real git and Podman; the agent and the egress-proxy are small."""

import asyncio
import json
import os
import platform
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trustme
from pydantic import TypeAdapter
from sqlalchemy import URL

from airut_common.bus import Bus, open_bus
from airut_common.bus.answers import Endpoint
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import EMAIL_ACKNOWLEDGEMENTS, EMAIL_REPLIES, STATUS_BUCKET, status_key
from airut_common.config.models import InstallationConfig
from airut_common.config.store import apply_config
from airut_common.contracts.v1 import (
    Acknowledgement,
    AgentOutput,
    AgentProgress,
    BlobRef,
    CloseSession,
    ListSessions,
    Message,
    OpenedSession,
    OpenSession,
    Refused,
    Reply,
    SessionClosed,
    SessionOpened,
    SessionsListed,
    TaskEvent,
    TaskStateChanged,
    new_id,
    subjects,
    utc_now,
)
from airut_common.sealed import seal, sealed_key, service_public_key, store_sealed
from airut_common.testing.builders import email_route, task_request
from airut_orchestrator.database.connection import URL_VARIABLE
from airut_orchestrator.testing.cluster import NatsCluster
from airut_orchestrator.testing.network import NetworkHost
from airut_sandbox.agent_binary import platform_name
from airut_sandbox.image_facts import images_of
from airut_sandbox.podman import Podman
from airut_sandbox.testing.fake_proxy import FakeProxy, fake_proxy
from airut_sandbox.testing.git_server import GitServer, Upstream, run_git
from airut_sandbox.testing.https_server import Authority, HttpsServer

VERSION = "0.0.1"
EVENT: TypeAdapter[TaskEvent] = TypeAdapter(TaskEvent)
POLICY = "domains:\n  - api.anthropic.com\n"
DOCKERFILE = "ARG AIRUT_BASE\nFROM ${AIRUT_BASE}\n"
SECONDS = 90.0


@dataclass
class Egress:
    """The egress-proxy as the orchestrator sees it."""

    bus: Bus
    ca_pem: str
    folder: Path
    host: str = "local"
    refuse: Refused | None = None
    refuse_builds: Refused | None = None
    deaf_to_builds: bool = False
    """Sessions of builds are opened, and then nobody takes their listeners."""
    slow: dict[str, asyncio.Event] = field(default_factory=dict)
    """Policies whose sessions are opened only then."""
    denied: int = 0
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody asked which sessions are open."""
    opened: list[OpenSession] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    proxy: FakeProxy | None = None
    _held: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Begin to serve, and say so."""
        self._held = AsyncExitStack()
        folder = self.folder / new_id()[:8]
        folder.mkdir()
        self.proxy = self._held.enter_context(fake_proxy(folder))
        endpoints = {
            "open": Endpoint(subjects.egress_service(self.host, "open"), OpenSession, self._open),
            "close": Endpoint(subjects.egress_service(self.host, "close"), CloseSession, self._close),
            "list": Endpoint(subjects.egress_service(self.host, "list"), ListSessions, self._list),
        }
        await self._held.enter_async_context(self.bus.serve("egress-proxy", endpoints))
        await self.bus.kv_put(
            STATUS_BUCKET, status_key("egress-proxy", self.host), json.dumps({"at": new_id()}).encode()
        )

    async def stop(self) -> None:
        """Gone, with every listener it held."""
        await self._held.aclose()

    async def until_closed(self, *sandboxes: str) -> None:
        async with asyncio.timeout(SECONDS):
            while not set(sandboxes) <= set(self.closed):
                await asyncio.sleep(0.02)

    async def _open(self, question: OpenSession) -> Message:
        self.opened.append(question)
        if question.policy in self.slow:
            await self.slow[question.policy].wait()
        refusal = self.refuse if question.with_credentials else self.refuse_builds
        if refusal is not None:
            return refusal
        assert self.proxy is not None
        deaf = self.deaf_to_builds and not question.with_credentials
        return SessionOpened(
            sandbox=question.sandbox,
            attach_socket=str(self.folder / "nobody.sock" if deaf else self.proxy.path),
            attach_token=f"token-{question.sandbox}",
            environment={"DEMO_TOKEN": f"surrogate-{question.sandbox[:8]}"},
            ca_certificate=self.ca_pem,
        )

    async def _list(self, _question: ListSessions) -> Message:
        self.listed.set()
        sandboxes = sorted({question.sandbox for question in self.opened} - set(self.closed))
        return SessionsListed(
            sessions=tuple(
                OpenedSession(sandbox=sandbox, task="t", repo="demo", attached=True, open_seconds=1)
                for sandbox in sandboxes
            )
        )

    async def _close(self, question: CloseSession) -> Message:
        self.closed.append(question.sandbox)
        return SessionClosed(sandbox=question.sandbox, requests=self.denied, denied=self.denied)


@dataclass
class Site:
    """Everything around one orchestrator."""

    folder: Path
    nats: NatsServer | NatsCluster
    bus: Bus
    podman: Podman
    egress: Egress
    upstream: Upstream
    config: dict[str, Any]
    installation: str = field(default_factory=lambda: f"test-{new_id()[:10]}")
    host: str = "local"
    database: URL | None = None
    """PostgreSQL; None for SQLite."""
    on: NetworkHost | None = None
    """Where its processes run; None: here."""
    process: asyncio.subprocess.Process | None = None
    replies: list[Reply] = field(default_factory=list)
    acknowledgements: list[Acknowledgement] = field(default_factory=list)
    events: list[TaskEvent] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> Path:
        return self.folder / self.host

    @asynccontextmanager
    async def beside(self, host: str, on: NetworkHost | None = None) -> AsyncIterator["Site"]:
        """A second host of the installation, with an orchestrator and an egress-proxy of its own; what comes over the
        bus is seen by the first."""
        egress = Egress(self.bus, self.egress.ca_pem, self.folder, host)
        # On one machine its containers would be taken for leftovers of the other's.
        installation = f"{self.installation}-{host}"
        other = replace(self, host=host, egress=egress, installation=installation, process=None, on=on)
        await egress.start()
        try:
            await other.start()
            yield other
        finally:
            await other.end()
            await egress.stop()
            await remove_images(other)

    @property
    def git(self) -> GitServer:
        return self.upstream.server

    # -- the service ----------------------------------------------------------------------------------------

    async def start(self, **environment: str) -> None:
        """Run it, and wait until it is ready."""
        key = status_key("orchestrator", self.host)
        await self.bus.kv_delete(STATUS_BUCKET, key)
        values = {
            "AIRUT_NATS_URL": self.nats.url,
            "AIRUT_STATE_DIR": str(self.state),
            "AIRUT_INSTALLATION": self.installation,
            "AIRUT_HOST": self.host,
            "AIRUT_CACHE_DIR": str(self.folder / "cache"),
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
        }
        if self.database is not None:
            values[URL_VARIABLE] = self.database.render_as_string()
        with (self.folder / f"{self.host}.log").open("ab") as log:
            argv = [sys.executable, "-m", "airut_orchestrator"]
            self.process = await asyncio.create_subprocess_exec(
                *(self.on.command(*argv) if self.on is not None else argv), env=values | environment,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        async with asyncio.timeout(SECONDS):
            while (await self.bus.kv_get(STATUS_BUCKET, key)) is None:
                assert self.process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(60):
            return await self.process.wait()

    def log(self) -> str:
        return (self.folder / f"{self.host}.log").read_text()

    async def containers(self) -> list[str]:
        """Ids of its containers."""
        done = await self.podman.run(
            "ps", "--all", "--quiet", f"--filter=label=airut.installation={self.installation}"
        )
        return done.stdout.decode().split()

    # -- people -----------------------------------------------------------------------------------------------

    async def configure(self, **changes: Any) -> None:
        """Merge into the repository `demo` and apply."""
        self.config["repos"]["demo"] |= changes
        await apply_config(
            self.bus, InstallationConfig.model_validate_json(json.dumps(self.config), strict=True)
        )

    def publish_agent(self, version: str) -> None:
        """Another version of the agent, which does the same."""
        _install_agent(self.folder / "cache", version)

    async def seal(self, name: str, value: str) -> None:
        """Give the orchestrator a secret of the repository."""
        async with asyncio.timeout(SECONDS):
            while (key := await service_public_key(self.bus, "orchestrator")) is None:
                await asyncio.sleep(0.02)
        await store_sealed(self.bus, sealed_key("orchestrator", "demo", name), seal(key, value))

    async def send(self, program: str, **overrides: Any) -> str:
        """Ask for work; the task's id."""
        values: dict[str, Any] = {"text": f"Please.\n---\n{program}", "accepted_at": utc_now()}
        request = task_request(**(values | {"route": email_route()} | overrides))
        # Servers of a cluster may be choosing another leader just now; who sends a mail tries again as well.
        subject = subjects.task_requested(request.repo)
        await self.bus.publish(subject, request, msg_id=request.id, timeout_seconds=SECONDS)
        return request.id

    async def ask(self, program: str, **overrides: Any) -> Reply:
        """Ask, and wait for the answer."""
        return await self.reply_to(await self.send(program, **overrides))

    async def reply_to(self, task: str) -> Reply:
        return await self._until(lambda: next((item for item in self.replies if item.id == task), None))

    async def until(self, task: str, state: str) -> TaskStateChanged:
        """The event that says that a task entered a state."""

        def found() -> TaskStateChanged | None:
            for event in self.events_of(task):
                if isinstance(event, TaskStateChanged) and event.state == state:
                    return event
            return None

        return await self._until(found)

    async def until_said(self, task: str, text: str) -> None:
        await self._until(lambda: [event for event in self.outputs(task) if text in event.text])

    async def blob(self, ref: BlobRef) -> bytes:
        return await self.bus.get_blob(ref)

    def events_of(self, task: str) -> list[TaskEvent]:
        return [event for event in self.events if event.task == task]

    def states(self, task: str) -> list[str]:
        return [event.state for event in self.events_of(task) if isinstance(event, TaskStateChanged)]

    def outputs(self, task: str) -> list[AgentOutput]:
        return [event for event in self.events_of(task) if isinstance(event, AgentOutput)]

    def progress(self, task: str) -> list[AgentProgress]:
        return [event for event in self.events_of(task) if isinstance(event, AgentProgress)]

    async def _until[T](self, look: Any) -> Any:
        try:
            async with asyncio.timeout(SECONDS):
                while not (found := look()):
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            said = "\n".join(map(repr, [*self.events[-30:], *self.replies[-3:]]))
            raise AssertionError(
                f"it did not happen; events:\n{said}\nthe log:\n{self.log()[-6000:]}"
            ) from None

    async def take_reply(self, reply: Reply) -> None:
        self.replies.append(reply)
        self._changed.set()

    async def take_acknowledgement(self, taken: Acknowledgement) -> None:
        self.acknowledgements.append(taken)
        self._changed.set()

    async def acknowledgement_of(self, task: str) -> Acknowledgement:
        return await self._until(
            lambda: next((taken for taken in self.acknowledgements if taken.id == task), None)
        )

    async def follow(self) -> None:
        async for stored in self.bus.replay(["airut.v1.event.task.>"]):
            self.events.append(EVENT.validate_json(stored.data))
            self._changed.set()


@contextmanager
def served_repository(folder: Path, authority: Authority, address: str) -> Iterator[Upstream]:
    """`demo.git` over HTTPS with a good `.airut/`, at an address of ours."""
    root, tree = folder / "served", folder / "author"
    root.mkdir()
    git = GitServer(root, authority)
    server = HttpsServer(authority.server_context("localhost"), git.handle, address)
    git.port = server.port
    run_git("init", "--quiet", "--bare", "--initial-branch=main", str(root / "demo.git"), cwd=folder)
    run_git("init", "--quiet", "--initial-branch=main", str(tree), cwd=folder)
    upstream = Upstream(tree, root / "demo.git", git)
    upstream.commit(good_files())
    try:
        yield upstream
    finally:
        server.stop()


def good_files() -> dict[str, str | bytes]:
    return {
        "README.md": "Helo\n",
        ".airut/network-allowlist.yaml": POLICY,
        ".airut/container/Dockerfile": DOCKERFILE,
    }


def _settings(upstream: Upstream, base_image: str) -> dict[str, Any]:
    demo = {
        "address": "demo@airut.example",
        "senders": ["ada@lovelace.example"],
        "git": {"url": upstream.server.url(), "ca_file": str(upstream.server.authority.file)},
        "agent": {"version": VERSION},
        "limits": {"timeout_seconds": 60},
    }
    return {"max_concurrent": 2, "sandbox": {"base_image": base_image}, "repos": {"demo": demo}}


def _install_agent(cache: Path, version: str = VERSION) -> None:
    program = cache / "agents" / version / platform_name(platform.machine(), "glibc") / "claude"
    program.parent.mkdir(parents=True)
    program.write_text((Path(__file__).with_name("fake_agent.py")).read_text())
    program.chmod(0o555)


@asynccontextmanager
async def open_site(
    folder: Path,
    podman: Podman,
    base_image: str,
    database: URL | None = None,
    cluster: NatsCluster | None = None,
) -> AsyncIterator[Site]:
    """A site whose orchestrator runs and is ready; on SQLite, or on the PostgreSQL at `database`; on a bus of its own,
    or on the first host of a cluster."""
    ca = trustme.CA()
    (folder / "ca.pem").write_bytes(ca.cert_pem.bytes())
    authority = Authority(ca, folder / "ca.pem")
    _install_agent(folder / "cache")
    async with AsyncExitStack() as stack:
        nats = cluster or await stack.enter_async_context(_own_bus(folder / "nats"))
        bus = await stack.enter_async_context(open_bus(nats.url, name="test", nkey_seed_file=None))
        address = cluster.switch.address if cluster is not None else "127.0.0.1"
        upstream = stack.enter_context(served_repository(folder, authority, address))
        egress = Egress(bus, ca.cert_pem.bytes().decode(), folder)
        settings = _settings(upstream, base_image)
        settings["egress"] = {"connect_to": {"localhost": f"{address}:{upstream.server.port}"}}
        on = cluster.switch.hosts[0] if cluster is not None else None
        site = Site(folder, nats, bus, podman, egress, upstream, settings, database=database, on=on)
        await site.configure()
        await egress.start()
        stack.push_async_callback(egress.stop)
        loops = [
            asyncio.create_task(bus.consume(EMAIL_REPLIES, Reply, site.take_reply)),
            asyncio.create_task(
                bus.consume(EMAIL_ACKNOWLEDGEMENTS, Acknowledgement, site.take_acknowledgement)
            ),
            asyncio.create_task(site.follow()),
        ]
        try:
            await site.start()
            yield site
        finally:
            await site.end()
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await remove_images(site)


@asynccontextmanager
async def _own_bus(folder: Path) -> AsyncIterator[NatsServer]:
    nats = NatsServer(folder)
    async with nats.running():
        async with open_bus(nats.url, name="admin", nkey_seed_file=None) as admin:
            await admin.ensure_topology()
        yield nats


async def remove_images(site: Site) -> None:
    """Those that were made for it."""
    ids = dict.fromkeys(image["Id"] for image in await images_of(site.podman, site.installation))
    if ids:
        # Without `--force`: that also removes the containers of others who build upon a layer of ours.
        await site.podman.run("rmi", "--ignore", *ids, check=False)


@contextmanager
def broken(site: Site, files: Mapping[str, str | bytes | None]) -> Iterator[None]:
    """The default branch with these files, or without them; as before in the end."""
    for name, content in files.items():
        path = site.upstream.tree / name
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    site.upstream.commit_all()
    try:
        yield
    finally:
        for name in (".airut/container/other", ".airut/preamble.md"):
            (site.upstream.tree / name).unlink(missing_ok=True)
        site.upstream.commit(good_files())
