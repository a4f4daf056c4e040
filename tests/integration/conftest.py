"""One real installation in a small local world, shared by the tests that do not break it."""

import asyncio
import itertools
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from airut_demo.__main__ import cache_folder
from airut_demo.installation import ADDRESS, API_KEY, GIT_TOKEN, DemoInstallation, settings
from airut_demo.traces import remove_traces
from airut_demo.world.mail_user import compose, send
from airut_demo.world.messages_api import Say, Script, ToolUse
from airut_demo.world.world import GIT_NAME, MODEL_NAME, REPOSITORY, USER, World, open_world
from airut_egress.testing.origin import Origin
from airut_sandbox.base_image import ensure_base_image
from airut_sandbox.podman import Podman, probe_podman

TASK_SECONDS = 120.0
BULK_NAME, PLAIN_NAME, SINK_NAME = "bulk.demo.example", "plain.demo.example", "sink.demo.example"
RECORD_NAME, JUDGED_NAME = "record.demo.example", "judged.demo.example"
LARGE_REPOSITORY = "large"
"""Who needs it creates it."""
UPLOAD_LIMITS = {SINK_NAME: 128 * 1024 * 1024, JUDGED_NAME: 4096}
ALLOWLIST = f"""\
domains:
  - {MODEL_NAME}
  - "*.rebind.example"
  - {BULK_NAME}
  - {PLAIN_NAME}
  - {SINK_NAME}
  - {RECORD_NAME}
url_prefixes:
  - {{host: {GIT_NAME}, path: "/{REPOSITORY}.git/*"}}
  - {{host: {GIT_NAME}, path: "/{LARGE_REPOSITORY}.git/*"}}
  - {{host: {GIT_NAME}, path: "/read-only/*", methods: [GET]}}
  - {{host: {GIT_NAME}, path: /graphql, graphql: {{queries: [viewer]}}}}
  - {{host: {JUDGED_NAME}, path: /graphql, graphql: {{queries: [viewer]}}}}
"""
REBINDING = {
    "loopback": (("A", ("127.0.0.1",)),),
    "private": (("A", ("10.1.2.3",)),),
    "link-local": (("A", ("169.254.1.1",)),),
    "metadata": (("A", ("169.254.169.254",)),),
    "cgnat": (("A", ("100.64.0.1",)),),
    "mapped": (("AAAA", ("::ffff:127.0.0.1",)),),
    "ula": (("AAAA", ("fd00::1",)),),
    "mixed": (("A", ("93.184.216.34", "192.168.0.1")),),
}
"""Names that are allowed, and lead where no sandbox may go."""
CHANGING = {
    "into-loopback": (("93.184.216.34",), ("127.0.0.1",)),
    "into-metadata": (("93.184.216.34",), ("169.254.169.254",)),
    "out-of-loopback": (("127.0.0.1",), ("93.184.216.34",)),
}
"""The same, and each answer is another one."""
_numbers = itertools.count(1)


@dataclass
class Site:
    """A running installation and its world."""

    world: World
    installation: DemoInstallation
    origin: Origin
    """Records every byte that comes to it."""
    tokens: set[str] = field(default_factory=set)

    def script(self, *steps: ToolUse | Say) -> str:
        """Teach the model what to do when a mail holds the returned words."""
        marker = f"errand-{next(_numbers):04d}."
        self.world.model.scripts = (*self.world.model.scripts, Script(marker, steps))
        return marker

    async def send(self, text: str, *, reply_to: EmailMessage | None = None, **overrides: Any) -> bytes:
        """Ada sends a signed mail; returns it."""
        values = {"sender": f"Ada <{USER}>", "recipient": ADDRESS, "subject": "An errand", "text": text}
        if reply_to is not None:
            values |= {"in_reply_to": reply_to["Message-ID"], "references": reply_to["Message-ID"]}
        mail = self.world.domain.sign(compose(**(values | overrides)))
        await send(mail, server=self.installation.smtp, sender=USER, recipient=ADDRESS)
        return mail

    async def reply_to(self, mail: bytes, timeout_seconds: float = TASK_SECONDS) -> EmailMessage:
        """The answer to a mail."""
        wanted = message_id(mail)
        return await self.world.mailbox.wait_for(
            lambda message: message["In-Reply-To"] == wanted, timeout_seconds=timeout_seconds
        )

    async def ask(
        self, *steps: ToolUse | Say, reply_to: EmailMessage | None = None, **overrides: Any
    ) -> EmailMessage:
        """A whole task: mail in, scripted steps, answer out."""
        mail = await self.send(f"Please do {self.script(*steps)}", reply_to=reply_to, **overrides)
        return await self.reply_to(mail)

    def replies_to(self, mail: bytes) -> list[EmailMessage]:
        """All answers to a mail so far."""
        wanted = message_id(mail)
        return [message for message in self.world.mailbox.messages if message["In-Reply-To"] == wanted]

    async def api(self, path: str) -> Any:
        """The dashboard's JSON API."""
        async with httpx.AsyncClient(base_url=self.installation.dashboard) as client:
            return (await client.get(f"/api/v1{path}")).raise_for_status().json()

    async def task_of(self, subject: str) -> Mapping[str, Any]:
        """The newest task with this subject."""
        return next(task for task in await self.api("/tasks") if task["subject"] == subject)

    async def until(self, subject: str, state: str, seconds: float = 60) -> Mapping[str, Any]:
        """Wait until the task with this subject is in a state (or past it)."""
        async with asyncio.timeout(seconds):
            while True:
                for task in await self.api("/tasks"):
                    if task["subject"] == subject and (task["state"] == state or task["final"]):
                        return task
                await asyncio.sleep(0.1)

    async def refresh(self, seconds: float = 60) -> None:
        """Wait until every service is ready, and learn where it listens now."""
        async with asyncio.timeout(seconds):
            while True:
                found = await self.installation.status()
                if found is not None and all(service["ready"] for service in found["services"]):
                    for service in found["services"]:
                        self.installation.addresses |= service["addresses"]
                    return
                await asyncio.sleep(0.2)

    def processes(self) -> dict[str, int]:
        """The installation's processes: name to process id."""
        return self.installation.processes()


def message_id(mail: bytes) -> str:
    """The Message-ID of a mail."""
    for line in mail.split(b"\r\n"):
        if line.lower().startswith(b"message-id:"):
            return line.partition(b":")[2].strip().decode()
    raise ValueError("no Message-ID")


def text_of(message: EmailMessage) -> str:
    """The plain text of a mail."""
    body = message.get_body(preferencelist=("plain",))
    return body.get_content() if body is not None else ""


def bash(command: str) -> ToolUse:
    """The model runs a command."""
    return ToolUse("Bash", {"command": command, "timeout": 60000})


def say_all(results: Sequence[str]) -> str:
    """The model repeats what its tools said."""
    return "\n".join(f"[{index}] {text}" for index, text in enumerate(results))


ALL = Say(say_all)


@asynccontextmanager
async def bulk_origin(world: World) -> AsyncIterator[Mapping[str, str]]:
    """An upstream for floods, in a process of its own; yields where its names are to be dialled."""
    files = world.ca.issue(BULK_NAME)
    script = Path(__file__).parent / "bulk_origin.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, files.certificate, files.key, stdin=PIPE, stdout=PIPE
    )
    try:
        assert process.stdout is not None
        tls, plain = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()
        yield dict.fromkeys((PLAIN_NAME, SINK_NAME), f"127.0.0.1:{plain}") | {BULK_NAME: f"127.0.0.1:{tls}"}
    finally:
        try:
            # It ends with its input. To wait for its output's end as well leaves no pipe to the collector.
            await asyncio.wait_for(process.communicate(), 20)
        except TimeoutError:
            process.kill()
            await process.communicate()


async def podman_with_image(folder: Path) -> tuple[Podman, str]:
    """Podman, with its state in this folder, and the base image."""
    podman = await probe_podman(folder / "podman", runtime=None)
    return podman, await ensure_base_image(podman, cache_dir=cache_folder() / "base-image")


async def open_site(folder: Path) -> AsyncIterator[Site]:
    """A site of one's own, and nothing of it left in Podman afterwards."""
    podman, image = await podman_with_image(folder)
    files = {
        **{name: (Path(__file__).parent / name).read_text() for name in ("probe.py", "neighbours.py")},
        ".airut/network-allowlist.yaml": ALLOWLIST,
    }
    async with (
        open_world(folder / "world", (), files=files) as world,
        bulk_origin(world) as bulk,
        Origin((RECORD_NAME, JUDGED_NAME), world.ca._ca).running() as origin,
    ):
        for name, addresses in REBINDING.items():
            for kind, address in addresses:
                world.zones.add(f"{name}.rebind.example", kind, *address)
        for name, answers in CHANGING.items():
            world.zones.coming[f"{name}.rebind.example", "A"] = list(answers)
        installation = DemoInstallation(folder)
        config = settings(world, base_image=image, real_model=False)
        config["egress"]["connect_to"] |= bulk | dict.fromkeys((RECORD_NAME, JUDGED_NAME), origin.tls_address)
        config["egress"]["upload_limits"] = UPLOAD_LIMITS
        installation.write(config)
        try:
            async with installation.running():
                await installation.set_secret(GIT_TOKEN, world.git_token)
                await installation.set_secret(API_KEY, world.api_key)
                yield Site(world, installation, origin)
        finally:
            await remove_traces(podman, installation.id)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The shared site."""
    async for found in open_site(tmp_path_factory.mktemp("site")):
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def own_site(tmp_path: Path) -> AsyncIterator[Site]:
    """A site that a test may break."""
    async for found in open_site(tmp_path):
        yield found
