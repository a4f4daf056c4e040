"""One container for one task: made, checked against what the kernel really gave, run, and gone afterwards."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from .creation import create_container
from .errors import SandboxError
from .podman import Podman
from .readback import Facts, read_facts
from .removal import despite_cancellation, remove_leftovers
from .sandbox import DiskEnd, Exit, Sandbox
from .spec import Mount, SandboxSpec, check_spec

__all__ = ["DiskEnd", "Exit", "Mount", "Sandbox", "SandboxSpec", "open_sandbox", "remove_leftovers"]

log = structlog.get_logger()


@asynccontextmanager
async def open_sandbox(
    podman: Podman, spec: SandboxSpec, *, look: Callable[..., Facts] = read_facts
) -> AsyncIterator[Sandbox]:
    """Create the container and its namespaces, and check both; removed on exit, whatever happens.

    Raises:
        SandboxRefused: the image or the kernel's answer is not acceptable.
        SandboxError: Podman could not make it.
    """
    check_spec(spec)
    async with AsyncExitStack() as stack:
        folder = await _make_folder(podman, spec.name)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # A Podman that is killed half-way leaves storage behind that it cannot name any more.
        created = await despite_cancellation(create_container(podman, spec, folder, stack, look=look))
        sandbox = Sandbox(podman, spec, created, look)
        stack.push_async_callback(sandbox.close)
        log.debug("sandbox made", sandbox=spec.name, container=created.id[:12], pid=created.pid)
        yield sandbox


async def _make_folder(podman: Podman, name: str) -> Path:
    folder = podman.state_dir / "sandboxes" / name
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        known = await podman.run("container", "exists", name, check=False)
        if known.returncode == 0:
            raise SandboxError(f"there is a sandbox {name} already") from None
        # Left by a process that was killed.
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    return folder
