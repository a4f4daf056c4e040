"""What an installation leaves in Podman, found by its label and removed; nobody else's is touched."""

import json

from airut_common.processes import ProcessError
from airut_sandbox.container import remove_leftovers
from airut_sandbox.podman import Podman

_LABEL = "airut.installation"


async def remove_traces(podman: Podman, installation: str) -> None:
    """Remove the containers and images of one installation that has stopped.

    Raises:
        SandboxError: a container is still there, or Podman does not answer.
    """
    await remove_leftovers(podman, installation)
    for image in await _images(podman, installation):
        try:
            await podman.run("image", "rm", "--force", image, timeout_seconds=60)
        except ProcessError:
            # It went with another one that was built on it; if it did not, it is only disk space.
            continue


async def _images(podman: Podman, installation: str) -> list[str]:
    done = await podman.run("image", "ls", "--all", f"--filter=label={_LABEL}", "--format=json")
    found = json.loads(done.stdout or b"[]")
    # Compared here, because Podman's filter reads a value as a pattern.
    return [image["Id"] for image in found if (image.get("Labels") or {}).get(_LABEL) == installation]
