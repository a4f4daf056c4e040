"""What Podman said of its images counts until its list of them changes."""

import json
import os
import time
from pathlib import Path
from typing import Any, cast

import pytest

from airut_common.processes import Completed
from airut_sandbox.image_facts import inspect_images
from airut_sandbox.image_store import ImageStore
from airut_sandbox.podman import Podman


class Counted:
    """Podman with one store of images, which counts how often it is asked."""

    def __init__(self, folder: Path | None) -> None:
        self.image_store = ImageStore(folder)
        self.images: dict[str, str] = {}
        self.asked = 0

    async def run(self, command: str, kind: str, *args: str, **options: Any) -> Completed:
        if kind == "exists":
            return Completed(0 if args[-1] in self.images else 1, b"", b"")
        self.asked += 1
        names = args[1:]
        if any(name not in self.images for name in names):
            return Completed(125, b"[]", b"Error: image not known")
        found = [{"Id": self.images[name]} for name in names]
        return Completed(0, json.dumps(found).encode(), b"")


@pytest.fixture
def podman(tmp_path: Path) -> Counted:
    found = Counted(tmp_path)
    add(found, tmp_path, "one", "1")
    return found


def add(podman: Counted, folder: Path, name: str, image_id: str, *, age_seconds: float = 60) -> None:
    """As Podman does it: the list is a new file each time."""
    podman.images[name] = image_id
    (folder / image_id).mkdir(exist_ok=True)
    (draft := folder / "draft").write_text(json.dumps(podman.images))
    then = time.time() - age_seconds
    os.utime(draft, (then, then))
    draft.rename(folder / "images.json")


async def ids(podman: Counted, *names: str) -> list[str]:
    found = await inspect_images(cast(Podman, podman), names)
    return [image["Id"] for image in found or ()]


async def test_podman_is_asked_once(podman: Counted) -> None:
    assert [await ids(podman, "one") for _ in range(3)] == [["1"]] * 3
    assert podman.asked == 1


async def test_other_names_are_another_question(podman: Counted, tmp_path: Path) -> None:
    add(podman, tmp_path, "two", "2")
    assert await ids(podman, "one") == ["1"]
    assert await ids(podman, "one", "two") == ["1", "2"]
    assert await ids(podman, "one") == ["1"]
    assert podman.asked == 2


async def test_a_name_that_means_another_image_is_noticed(podman: Counted, tmp_path: Path) -> None:
    assert await ids(podman, "one") == ["1"]
    add(podman, tmp_path, "one", "2", age_seconds=30)
    assert await ids(podman, "one") == ["2"]


async def test_an_image_that_was_removed_is_noticed(podman: Counted, tmp_path: Path) -> None:
    assert await ids(podman, "one") == ["1"]
    add(podman, tmp_path, "two", "2", age_seconds=30)
    del podman.images["one"]
    assert await ids(podman, "one") == []
    add(podman, tmp_path, "one", "3", age_seconds=20)
    assert await ids(podman, "one") == ["3"]


async def test_a_list_that_may_still_change_within_its_time_is_not_relied_on(
    podman: Counted, tmp_path: Path
) -> None:
    add(podman, tmp_path, "one", "2", age_seconds=0)
    assert await ids(podman, "one") == ["2"]
    podman.images["one"] = "3"  # the same file, to the nanosecond
    (tmp_path / "3").mkdir()
    assert await ids(podman, "one") == ["3"]


async def test_a_list_from_the_future_is_not_relied_on(podman: Counted, tmp_path: Path) -> None:
    add(podman, tmp_path, "one", "2", age_seconds=-3600)
    await ids(podman, "one")
    await ids(podman, "one")
    assert podman.asked == 2


async def test_an_image_of_another_store_is_asked_for_each_time(podman: Counted, tmp_path: Path) -> None:
    """Additional stores, which are read-only for us, have lists of their own."""
    (tmp_path / "1").rmdir()
    await ids(podman, "one")
    await ids(podman, "one")
    assert podman.asked == 2


@pytest.mark.parametrize("is_known", [True, False])
async def test_without_a_list_podman_is_asked_each_time(tmp_path: Path, is_known: bool) -> None:
    podman = Counted(tmp_path if is_known else None)
    podman.images["one"] = "1"
    await ids(podman, "one")
    await ids(podman, "one")
    assert podman.asked == 2
