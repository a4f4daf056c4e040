"""A small Debian image for hosts without a container registry, and for the demo and the tests."""

from .podman import Podman


async def ensure_base_image(podman: Podman) -> str:
    """The reference of the base image (`localhost/airut-base:<hash of the recipe>`), built when it is missing.

    Raises:
        BaseImageUnavailable: it could neither be built nor fetched.
    """
    raise NotImplementedError
