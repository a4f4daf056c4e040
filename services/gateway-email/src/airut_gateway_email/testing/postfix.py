"""Postfix as a child process on loopback, with a configuration, queue and log of its own."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from airut_common.testing.ports import free_port

_SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
_SETTINGS = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/log
maillog_file_prefixes = {root}
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
myhostname = mx.example
alias_maps =
alias_database =
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_dns_support_level = disabled
smtp_host_lookup = native
minimal_backoff_time = 1s
queue_run_delay = 1s
"""


class Postfix:
    """One instance. `settings` are lines of its main.cf."""

    def __init__(self, root: Path, settings: Mapping[str, str]) -> None:
        self.root = root
        self.port = free_port()
        self._config = root / "etc"
        self._process: asyncio.subprocess.Process | None = None
        self._config.mkdir()
        (root / "queue").mkdir()
        (root / "data").mkdir()
        shutil.chown(root / "data", "postfix", "postfix")
        more = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self._config / "main.cf").write_text(_SETTINGS.format(root=root) + more)
        (self._config / "master.cf").write_text(_SERVICES.format(port=self.port).lstrip())

    @classmethod
    @asynccontextmanager
    async def running(cls, **settings: str) -> AsyncIterator["Postfix"]:
        """Serve while the context is open."""
        # Its parts run under a user of their own, who may not enter pytest's folders.
        with tempfile.TemporaryDirectory(prefix="airut-postfix-") as name:
            Path(name).chmod(0o755)
            postfix = cls(Path(name), settings)
            await postfix._start()
            try:
                yield postfix
            finally:
                await postfix._stop()

    def log(self) -> str:
        """What it has written so far."""
        path = self.root / "log"
        return path.read_text() if path.exists() else ""

    async def until_logged(self, text: str, seconds: float = 20) -> str:
        """Wait for words in the log; returns it all."""
        try:
            async with asyncio.timeout(seconds):
                while text not in self.log():  # noqa: ASYNC110  a file tells nobody
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{text!r} is not in the log:\n{self.log()}") from None
        return self.log()

    async def _start(self) -> None:
        program = shutil.which("postfix", path=os.environ["PATH"] + ":/usr/sbin")
        assert program, "Postfix is missing: run scripts/setup.sh test"
        self._process = await asyncio.create_subprocess_exec(
            program, "-c", str(self._config), "start-fg", stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(20):
            while not await self._answers():
                assert self._process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    async def _stop(self) -> None:
        # What we started is a script; the server itself writes its number into a file, and ends its parts.
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((self.root / "queue/pid/master.pid").read_text()), signal.SIGTERM)
        async with asyncio.timeout(20):
            await self._process.wait()

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            return (await reader.readline()).startswith(b"220 ")
        finally:
            writer.close()
