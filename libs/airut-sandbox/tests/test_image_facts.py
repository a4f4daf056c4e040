"""Lists of images, while others remove some."""

import json
from typing import Any, cast

import pytest

from airut_common.processes import Completed, ProcessFailed
from airut_sandbox.image_facts import image_exists, images_of, inspect_images
from airut_sandbox.image_store import ImageStore
from airut_sandbox.podman import Podman

LISTED = [
    {"Id": "1", "Labels": {"airut.installation": "mine"}},
    {"Id": "2", "Labels": {"airut.installation": "mine-too"}},
    {"Id": "3", "Labels": None},
]


class Removing:
    """Podman, while somebody else removes images: its first lists fail."""

    def __init__(self, failures: int) -> None:
        self.image_store = ImageStore()
        self.failures = failures
        self.asked = 0

    async def run(self, *args: str, **options: Any) -> Completed:
        self.asked += 1
        if self.asked <= self.failures:
            return Completed(125, b"", b"Error: locating image with ID: image not known")
        return Completed(0, json.dumps(LISTED).encode(), b"")


async def test_a_list_that_somebody_spoils_is_made_again() -> None:
    podman = Removing(failures=2)
    assert [image["Id"] for image in await images_of(cast(Podman, podman), "mine")] == ["1"]
    assert podman.asked == 3


async def test_a_list_that_never_comes_is_an_error() -> None:
    podman = Removing(failures=100)
    with pytest.raises(ProcessFailed, match="image not known"):
        await images_of(cast(Podman, podman), "mine")
    assert podman.asked == 5


class Spoiled:
    """Podman, whose answers to `image inspect` and `image exists` are spoiled a few times."""

    def __init__(self, *, failures: int, there: bool) -> None:
        self.image_store = ImageStore()
        self.left = {"inspect": failures, "exists": failures}
        self.there = there

    async def run(self, command: str, kind: str, *args: str, **options: Any) -> Completed:
        self.left[kind] -= 1
        if self.left[kind] >= 0:
            return Completed(125, b"", b"Error: getting top layer info: layer not known")
        if kind == "exists":
            return Completed(0 if self.there else 1, b"", b"")
        return (
            Completed(0, b'[{"Id": "1"}]', b"")
            if self.there
            else Completed(125, b"[]", b"Error: image not known")
        )


@pytest.mark.parametrize("failures", [0, 1, 4])
async def test_an_image_is_missing_only_when_podman_says_so(failures: int) -> None:
    podman = cast(Podman, Spoiled(failures=failures, there=True))
    assert await inspect_images(podman, ["one"]) == [{"Id": "1"}]
    assert await inspect_images(cast(Podman, Spoiled(failures=failures, there=False)), ["one"]) is None


async def test_a_podman_that_never_answers_is_an_error() -> None:
    for ask in (lambda podman: image_exists(podman, "one"), lambda podman: inspect_images(podman, ["one"])):
        with pytest.raises(ProcessFailed, match="layer not known"):
            await ask(cast(Podman, Spoiled(failures=99, there=True)))
