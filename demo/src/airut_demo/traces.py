"""What an installation leaves in Podman, found by its label and removed; nobody else's is touched."""

from airut_common.processes import ProcessError
from airut_sandbox.container import remove_leftovers
from airut_sandbox.image_facts import images_of
from airut_sandbox.podman import Podman


async def remove_traces(podman: Podman, installation: str) -> None:
    """Remove the containers and images of one installation that has stopped.

    Raises:
        SandboxError: a container is still there, or Podman does not answer.
    """
    await remove_leftovers(podman, installation)
    for image in await images_of(podman, installation, "--all"):
        try:
            await podman.run("image", "rm", "--force", image["Id"], timeout_seconds=60)
        except ProcessError:
            # It went with another one that was built on it; if it did not, it is only disk space.
            continue
