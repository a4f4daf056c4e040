"""Images that an installation made and uses no more."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from airut_common.processes import ProcessError

from .errors import SandboxError
from .image_facts import images_of, labels_of
from .podman import Podman
from .spec import REPO_LABEL

KEPT: Final = 6
"""Of each repository, the newest: what its tasks use now, and what a revert would use. Each build leaves two."""
_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class OldImage:
    """An image that may go."""

    id: str
    name: str
    """Its first name, or its id."""


async def old_images(podman: Podman, installation: str, *, before: datetime) -> list[OldImage]:
    """Images of this installation that were made before a moment and are not among the newest of their repository.

    Raises:
        SandboxError: Podman does not answer.
    """
    try:
        listed = await images_of(podman, installation)
    except ProcessError as error:
        raise SandboxError(f"the images cannot be listed: {error}") from error
    by_repo: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for image in listed:
        by_repo[labels_of(image).get(REPO_LABEL, "")].append(image)
    found: list[OldImage] = []
    for images in by_repo.values():
        newest_first = sorted(images, key=lambda image: int(image["Created"]), reverse=True)
        found += [
            OldImage(image["Id"], (image.get("Names") or [image["Id"]])[0])
            for image in newest_first[KEPT:]
            if datetime.fromtimestamp(image["Created"], UTC) < before
        ]
    return found


async def remove_image(podman: Podman, image: OldImage) -> None:
    """Remove an image; one that is in use stays.

    Raises:
        SandboxError: it was not removed; says why.
    """
    try:
        await podman.run("rmi", "--ignore", image.id, timeout_seconds=_SECONDS)
    except ProcessError as error:
        raise SandboxError(f"image {image.name}: {error}") from error
