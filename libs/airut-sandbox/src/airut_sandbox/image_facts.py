"""What an image says about itself, and what of it is refused (field-notes row 46)."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from airut_common.processes import ProcessFailed
from airut_sandbox.errors import SandboxError
from airut_sandbox.podman import Podman
from airut_sandbox.spec import INSTALLATION_LABEL

_INSPECT_SECONDS = 60
_LIST_SECONDS = 120
#: Questions fail while others remove images.
_TRIES = 5
_PAUSE_SECONDS = 0.5
#: Podman obeys these as if they were its own options: CVE-2026-94603.
_OBEYED_ANNOTATIONS = "io.podman.annotations."


class ImageRefused(SandboxError):
    """The folder or the image may not be used; `str()` is fit for the user's reply."""


async def inspect_images(podman: Podman, names: Sequence[str]) -> list[dict[str, Any]] | None:
    """What Podman knows of the images, in order; None when one of them is not there. It is not asked again before
    something has changed.

    Raises:
        ProcessError: Podman does not answer.
    """
    stamp = podman.image_store.stamp()
    if (known := podman.image_store.remembered(stamp, names)) is not None:
        return known
    for _ in range(_TRIES):
        done = await podman.run(
            "image", "inspect", "--", *names, timeout_seconds=_INSPECT_SECONDS, check=False
        )
        if done.returncode == 0:
            images: list[dict[str, Any]] = json.loads(done.stdout)
            podman.image_store.remember(stamp, names, images)
            return images
        # Podman fails with the same code when an image is missing and when somebody removes another one meanwhile.
        if not all([await image_exists(podman, name) for name in names]):
            return None
    raise ProcessFailed("podman", done)


async def image_exists(podman: Podman, name: str) -> bool:
    """Whether the image is here.

    Raises:
        ProcessError: Podman does not answer.
    """
    for _ in range(_TRIES):
        done = await podman.run("image", "exists", "--", name, timeout_seconds=_INSPECT_SECONDS, check=False)
        if done.returncode in (0, 1):
            return done.returncode == 0
    raise ProcessFailed("podman", done)


async def images_of(podman: Podman, installation: str, *options: str) -> list[dict[str, Any]]:
    """What `podman images OPTIONS` lists of one installation.

    Raises:
        ProcessError: Podman does not answer.
    """
    found = await list_images(podman, *options, f"--filter=label={INSTALLATION_LABEL}")
    # Compared here, because Podman's filter reads a value as a pattern.
    return [image for image in found if labels_of(image).get(INSTALLATION_LABEL) == installation]


async def list_images(podman: Podman, *options: str) -> list[dict[str, Any]]:
    """What `podman images OPTIONS` lists.

    Raises:
        ProcessError: Podman does not answer.
    """
    for _ in range(_TRIES):
        done = await podman.run(
            "images", *options, "--format=json", timeout_seconds=_LIST_SECONDS, check=False
        )
        if done.returncode == 0:
            found: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
            return found
        # Podman gives up on the whole list when somebody removes an image meanwhile, which may be one of many.
        await asyncio.sleep(_PAUSE_SECONDS)
    raise ProcessFailed("podman", done)


def labels_of(image: Mapping[str, Any]) -> Mapping[str, str]:
    """Its labels; a base may have none."""
    return image.get("Labels") or {}


def refuse_annotations(image: Mapping[str, Any]) -> None:
    """Raises ImageRefused when it carries an annotation, or a label that could become one, that Podman obeys."""
    for name in (*labels_of(image), *(image.get("Annotations") or {})):
        if name.lower().startswith(_OBEYED_ANNOTATIONS):
            raise ImageRefused(
                f"the image carries the annotation {name!r}, which could switch the sandbox off"
            )


def refuse_triggers(podman: Podman, images: Sequence[tuple[str, str]]) -> None:
    """Refuse bases (name, id) with ONBUILD triggers: those would be run unseen, and with all that a Dockerfile may
    not ask for. Podman shows them nowhere, so they are read from its store.

    Raises:
        ImageRefused: one has triggers, or its configuration cannot be read.
    """
    for name, image_id in images:
        try:
            config = podman.image_store.read_config(image_id)
        except (OSError, ValueError) as error:
            raise ImageRefused(f"the configuration of the base image {name} cannot be read") from error
        if config.get("OnBuild"):
            raise ImageRefused(f"the base image {name} has ONBUILD triggers, which are not supported")


def created_at(image: Mapping[str, Any]) -> datetime:
    """When it was made, as `image inspect` tells it (RFC 3339, with nanoseconds)."""
    return datetime.fromisoformat(image["Created"])
