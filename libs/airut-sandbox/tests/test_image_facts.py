"""Lists of images, while others remove some."""

import json
from typing import Any, cast

import pytest

from airut_common.processes import Completed, ProcessFailed
from airut_sandbox.image_facts import images_of
from airut_sandbox.podman import Podman

LISTED = [
    {"Id": "1", "Labels": {"airut.installation": "mine"}},
    {"Id": "2", "Labels": {"airut.installation": "mine-too"}},
    {"Id": "3", "Labels": None},
]


class Removing:
    """Podman, while somebody else removes images: its first lists fail."""

    def __init__(self, failures: int) -> None:
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
