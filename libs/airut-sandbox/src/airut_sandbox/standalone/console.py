"""`airut-sandbox run` as its user sees it: the command's output, what was refused, an exit code."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import IO, Final

from rich.console import Console

from airut_common.log import configure_logging
from airut_egress.sessions import SessionRefused
from airut_sandbox.container import Exit
from airut_sandbox.disk import why_stopped
from airut_sandbox.errors import SandboxError
from airut_sandbox.image import ImageBuildFailed

from .events import EventLog
from .run import Asked, run_command

TIMED_OUT: Final = 124
NOT_RUN: Final = 125
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_and_tell(asked: Asked, events: IO[str] | None, console: Console) -> int:
    """Run the command, pass its output to our own, and sum up on `console`. Answers the exit code.

    Raises:
        MissingSecrets: a credential has no value.
        OSError: a folder cannot be used.
    """
    configure_logging("airut-sandbox", log_format="text", level="warning")
    log = EventLog(events)
    try:
        ended = asyncio.run(_until_signal(asked, log))
        code, disk = TIMED_OUT if ended.timed_out else ended.code, ended.disk
    except ImageBuildFailed as error:
        console.print(f"airut-sandbox: {error}\n{error.output_tail}")
        return NOT_RUN
    except (SandboxError, SessionRefused) as error:
        console.print(f"airut-sandbox: {error}")
        return NOT_RUN
    except asyncio.CancelledError:
        console.print("airut-sandbox: interrupted; the sandbox is gone")
        return 128 + signal.SIGTERM
    if code == TIMED_OUT:
        console.print(f"airut-sandbox: stopped after {asked.settings.limits.timeout_seconds} seconds")
    if disk.stopped is not None:
        why = why_stopped(disk.stopped, asked.settings.limits)
        console.print(f"airut-sandbox: stopped because {why}")
    console.print(f"airut-sandbox: {log.requests} requests, {sum(log.denied.values())} refused")
    for what, count in sorted(log.denied.items()):
        console.print(
            f"  refused {_readable(what)} ({count} times)" if count > 1 else f"  refused {_readable(what)}"
        )
    return code


async def _until_signal(asked: Asked, log: EventLog) -> Exit:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    for number in _SIGNALS:
        loop.add_signal_handler(number, lambda: task.cancel() if task is not None else None)
    return await run_command(asked, state_dir(), log, _pass_on)


async def _pass_on(line: bytes) -> None:
    """A pipe that is read slowly makes the command wait, as it would outside."""
    await asyncio.to_thread(_write, line + b"\n")


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def state_dir() -> Path:
    """Where runs keep what the next one can use (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "airut-sandbox"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _readable(text: str) -> str:
    """What the command asked for is its own words: no control characters reach a terminal."""
    return "".join(char if char.isprintable() else "�" for char in text[:200])
