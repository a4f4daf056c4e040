"""`podman build` with a deadline that leaves nothing running, and a bounded memory of what it said."""

import asyncio
import contextlib
import re
import sys
from collections.abc import Callable, Sequence

import structlog

from airut_common.processes import ProcessError, start_group
from airut_sandbox import build_guard
from airut_sandbox.podman import Podman

_log = structlog.get_logger()

_TAIL_BYTES = 4_000
_TRIES = 5
#: How a build ends when somebody on this host (another installation, `podman rmi`, our own clearing) removes an
#: image while Podman looks through its cache of layers: the next look finds what is there then.
_STORE_CHANGED = re.compile(
    r"^Error: .*\b(?:(?:layer|image) not known|locating item named .*: file does not exist)$"
)
_CHUNK_BYTES = 64 * 1024
#: More than the guard itself takes to end everything.
_GUARD_SECONDS = 60


class BuildFailed(Exception):
    """A non-zero exit code or the end of the time. `tail` is the end of the output, safe to show."""

    def __init__(self, tail: str, *, timed_out: bool) -> None:
        super().__init__("timed out" if timed_out else "failed")
        self.tail = tail
        self.timed_out = timed_out


OnOutput = Callable[[str], None]
"""Takes what a build says as it comes: some lines, or a part of a long one, without control characters."""


async def podman_build(
    podman: Podman, arguments: Sequence[str], *, timeout_seconds: float, on_output: OnOutput | None = None
) -> None:
    """Run `podman build ARGUMENTS`; again when images were removed under it. A cancelled caller takes the build
    with it.

    Raises:
        BuildFailed: it failed, or took longer than `timeout_seconds`.
    """
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    for tries_left in reversed(range(_TRIES)):
        try:
            await _build_once(podman, arguments, deadline, on_output)
        except BuildFailed as error:
            if error.timed_out or not tries_left or not store_changed(error.tail):
                raise
            _log.info("images were removed during a build; building again", tail=error.tail[-200:])
        else:
            return


def store_changed(tail: str) -> bool:
    """Whether a build with this output failed because images were removed under it."""
    return _STORE_CHANGED.match(tail.rpartition("\n")[2]) is not None


async def _build_once(
    podman: Podman, arguments: Sequence[str], deadline: float, on_output: OnOutput | None
) -> None:
    process = await _start(podman, arguments)
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
    tail = _Tail(on_output)
    timed_out = False
    try:
        async with asyncio.timeout_at(deadline):
            await tail.read(process.stdout)
            await process.wait()
    except TimeoutError:
        timed_out = True
    finally:
        process.stdin.close()  # tells the guard to end whatever still runs
        await _finish(process, tail, process.stdout)
    if timed_out or process.returncode != 0:
        raise BuildFailed(tail.text(), timed_out=timed_out)


def guarded_argv(podman: Podman, arguments: Sequence[str]) -> list[str]:
    """`podman build ARGUMENTS` below its guard, which ends it when its own standard input closes."""
    guarded = [sys.executable, "-I", build_guard.__file__, *podman.argv, "build", *arguments]
    # In the user namespace of the build, the guard may also end what runs under subordinate ids.
    return [*podman.argv, "unshare", *guarded] if podman.rootless else guarded


async def _start(podman: Podman, arguments: Sequence[str]) -> asyncio.subprocess.Process:
    argv = guarded_argv(podman, arguments)
    try:
        return await start_group(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(podman.env),
            cwd=podman.state_dir,
        )
    except OSError as error:
        raise ProcessError(f"{argv[0]} could not be started: {error.strerror}") from None


async def _finish(process: asyncio.subprocess.Process, tail: "_Tail", output: asyncio.StreamReader) -> None:
    try:
        async with asyncio.timeout(_GUARD_SECONDS):
            await tail.read(output)
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class _Tail:
    """The last bytes of an output of any length."""

    def __init__(self, on_output: OnOutput | None) -> None:
        self._on_output = on_output
        self._data = b""
        self._cut = False

    async def read(self, stream: asyncio.StreamReader) -> None:
        while part := await stream.read(_CHUNK_BYTES):
            if self._on_output is not None:
                self._on_output(_harmless(part))
            self._cut = self._cut or len(self._data) + len(part) > _TAIL_BYTES
            self._data = (self._data + part)[-_TAIL_BYTES:]

    def text(self) -> str:
        """Whole lines where possible, no control characters but line ends."""
        text = _harmless(self._data)
        if self._cut:
            text = text.partition("\n")[2] or text
        return text.strip()


def _harmless(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return "".join(character for character in text if character == "\n" or character.isprintable())
