"""A real installation for a demo or a test: its airut.yaml, `airut up` as a child, secrets, addresses."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from airut_common.processes import run
from airut_demo.errors import InstallationFailed
from airut_demo.world.world import GIT_NAME, MODEL_NAME, REPOSITORY, USER, World

ADDRESS = "demo@airut.example"
GIT_TOKEN = "DEMO_GIT_TOKEN"
API_KEY = "ANTHROPIC_API_KEY"
READY_SECONDS = 60.0
STOP_SECONDS = 60.0


def settings(world: World, *, base_image: str, real_model: bool) -> dict[str, Any]:
    """The airut.yaml of this world, as data."""
    connect_to = dict(world.connect_to())
    if real_model:
        del connect_to[MODEL_NAME]
    return {
        "state_dir": "state",
        "max_concurrent": 2,
        "email": {
            "listen": "127.0.0.1:0",
            "hostname": "airut.example",
            "authentication": {"resolver": world.resolver},
            "relay": {
                "host": "127.0.0.1",
                "port": int(world.mail_address.rpartition(":")[2]),
                "security": "plain",
            },
        },
        "dashboard": {"listen": "127.0.0.1:0"},
        "egress": {"connect_to": connect_to, "ca_file": str(world.ca.file)}
        | ({} if real_model else {"resolver": world.resolver}),
        "sandbox": {"base_image": base_image},
        "repos": {
            REPOSITORY: {
                "address": ADDRESS,
                "senders": [USER],
                "git": {
                    "url": f"https://{GIT_NAME}/{REPOSITORY}.git",
                    "push_credential": GIT_TOKEN,
                    "ca_file": str(world.ca.file),
                },
                "credentials": {
                    GIT_TOKEN: {"scopes": [GIT_NAME], "headers": ["authorization"]},
                    API_KEY: {"scopes": [MODEL_NAME], "headers": ["x-api-key"]},
                },
                "limits": {"timeout_seconds": 600},
            }
        },
    }


class DemoInstallation:
    """A running `airut up`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_file = folder / "airut.yaml"
        self.log_file = folder / "up.log"
        self.process: asyncio.subprocess.Process | None = None
        self.addresses: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        """Variables that `airut` gets besides our own."""

    def write(self, config: Mapping[str, Any]) -> None:
        """Write airut.yaml; JSON is YAML."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.config_file.write_text(json.dumps(config, indent=2) + "\n")

    @property
    def id(self) -> str:
        """What its containers and images are labelled with; empty before the first start."""
        file = self.folder / "state" / "installation.json"
        return str(json.loads(file.read_text())["id"]) if file.exists() else ""

    @property
    def smtp(self) -> str:
        """Where mail goes in."""
        return self.addresses["smtp"]

    @property
    def dashboard(self) -> str:
        """The dashboard's URL."""
        return self.addresses["http"]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run `airut up` while the context is open.

        Raises:
            InstallationFailed: it did not become ready.
        """
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self) -> None:
        """Start it and wait until every service is ready."""
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *_dies_with_us(_airut("up", self.config_file)),
                env=self._environment(),
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            await self._until_ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ctrl-C, and wait for the ordered stop."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def status(self) -> dict[str, Any] | None:
        """What `airut status --json` says; None while the bus does not answer."""
        done = await run(
            [*_airut("status", self.config_file), "--json"],
            timeout_seconds=60,
            check=False,
            env=self._environment(),
        )
        if not done.stdout.strip():
            return None
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    async def set_secret(self, name: str, value: str) -> None:
        """`airut secret set`, the value on standard input."""
        command = [*_airut("secret", self.config_file, "set", name), "--repo", REPOSITORY]
        await run(command, timeout_seconds=60, stdin=value.encode(), env=self._environment())

    async def _until_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                while True:
                    if self.process is None or self.process.returncode is not None:
                        raise InstallationFailed(f"airut up ended:\n{self.log_tail()}")
                    found = (
                        await self.status() if (self.folder / "state" / "nats" / "port").exists() else None
                    )
                    if found is not None and all(service["ready"] for service in found["services"]):
                        for service in found["services"]:
                            self.addresses |= service["addresses"]
                        return
                    await asyncio.sleep(0.3)
        except TimeoutError:
            text = f"airut up was not ready within {READY_SECONDS:g} s:\n{self.log_tail()}"
            raise InstallationFailed(text) from None

    def processes(self) -> dict[str, int]:
        """The processes that `airut up` keeps: service, or `nats-server`, to process id."""
        if self.process is None:
            return {}
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {}
        for pid in children:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it died while we looked
            name = next((part.decode() for part in command if part.startswith(b"airut_")), None)
            found[name.removeprefix("airut_").replace("_", "-") if name else "nats-server"] = int(pid)
        return found

    def _environment(self) -> dict[str, str]:
        """Ours without the model's real key: it goes in by `airut secret set`, as everybody's does."""
        return {name: value for name, value in os.environ.items() if name != API_KEY} | self.environment

    def log_tail(self) -> str:
        """The end of its log."""
        return self.log_file.read_text(errors="replace")[-4000:]


def _airut(command: str, config: Path, *more: str) -> list[str]:
    return [sys.executable, "-P", "-m", "airut", command, *more, "-c", str(config)]


def _dies_with_us(argv: Sequence[str]) -> list[str]:
    """Have the kernel stop it, in order, when we are killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--", *argv] if setpriv else list(argv)
