"""Nothing of a sandbox stays: its container and its small files."""

import asyncio
import json
import shutil
from collections.abc import Coroutine
from typing import Any, Final

from airut_common.processes import ProcessError

from .errors import SandboxError
from .podman import Podman
from .spec import INSTALLATION_LABEL, SANDBOX_LABEL

_REMOVE_SECONDS: Final = 60.0
_PAUSES: Final = (0.2, 1.0)


async def despite_cancellation[T](work: Coroutine[Any, Any, T]) -> T:
    """Let `work` come to its end even when the caller is cancelled; the cancellation then goes on. For steps with
    deadlines of their own, that leave a mess when they are cut."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        if not task.cancelled():
            # Its own error, if any, is not what the caller hears: the cancellation is.
            task.exception()
        raise


async def remove_container(podman: Podman, container_id: str) -> None:
    """Kill and remove one container, cancelled or not.

    Raises:
        SandboxError: it is still there.
    """
    await despite_cancellation(_remove(podman, container_id))


async def _remove(podman: Podman, container_id: str) -> None:
    try:
        await _remove_patiently(podman, container_id)
        left = await podman.run("container", "exists", container_id, check=False)
    except ProcessError as error:
        raise SandboxError(f"the container {container_id[:12]} could not be removed: {error}") from error
    if left.returncode == 0:
        raise SandboxError(f"the container {container_id[:12]} is still there after its removal")


async def _remove_patiently(podman: Podman, container_id: str) -> None:
    """Podman fails to remove what it is just starting or stopping; a moment later it can."""
    for pause in (*_PAUSES, None):
        try:
            await podman.run(
                *("rm", "--force", "--ignore", "--time=0", "--volumes", container_id),
                timeout_seconds=_REMOVE_SECONDS,
            )
        except ProcessError:
            if pause is None:
                raise
            await asyncio.sleep(pause)
        else:
            return


async def remove_leftovers(podman: Podman, installation: str) -> list[str]:
    """Remove every sandbox labelled with this installation and nothing else (field notes 66); answers their names.

    Raises:
        SandboxError: one is still there, or Podman does not answer.
    """
    try:
        done = await podman.run("ps", "--all", f"--filter=label={SANDBOX_LABEL}", "--format=json")
    except ProcessError as error:
        raise SandboxError(f"the containers cannot be listed: {error}") from error
    names: list[str] = []
    # Compared here, because Podman's filter reads a value as a pattern.
    for container in json.loads(done.stdout or b"[]"):
        labels = container.get("Labels") or {}
        if labels.get(INSTALLATION_LABEL) == installation:
            await remove_container(podman, container["Id"])
            shutil.rmtree(podman.state_dir / "sandboxes" / labels[SANDBOX_LABEL], ignore_errors=True)
            names.append(labels[SANDBOX_LABEL])
    return names
