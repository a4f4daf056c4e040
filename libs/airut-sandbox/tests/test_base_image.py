"""The base image: made once, found again, the same for everybody."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airut_sandbox.base_image import ARCHIVE_NAME, REFERENCE, ensure_base_image
from airut_sandbox.errors import BaseImageUnavailable
from airut_sandbox.podman import Podman
from airut_sandbox.testing.containers import Bench

pytestmark = pytest.mark.integration


async def test_an_existing_image_is_found_at_once(podman: Podman, base_image: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    assert await ensure_base_image(podman, cache_dir=tmp_path) == base_image
    assert time.monotonic() - begun < 5
    assert not (tmp_path / ARCHIVE_NAME).exists()


async def test_it_has_what_the_demo_needs(bench: Bench) -> None:
    assert bench.image == REFERENCE, "mmdebstrap is needed for the tests"
    script = "for p in git curl python3 openssl apt-get update-ca-certificates; do command -v $p >/dev/null || echo $p; done"
    done, text = await bench.run(bench.shell(script))
    assert (done.code, text) == (0, "")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Podman takes no `--runroot` of more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="airut-") as folder:
        yield Path(folder)


async def test_without_mmdebstrap_and_registry_the_remedy_is_named(
    podman: Podman, tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against an image store of its own, so that nobody's image is touched."""
    from dataclasses import replace

    (bin_dir := tmp_path / "bin").mkdir()
    (bin_dir / "podman").symlink_to(shutil.which("podman") or "")
    root, run = tmp_path / "root", short_folder / "run"
    empty = replace(podman, argv=(*podman.argv, f"--root={root}", f"--runroot={run}", "--storage-driver=vfs"))
    monkeypatch.setattr("airut_sandbox.base_image.FALLBACK", "registry.invalid/nothing:1")
    monkeypatch.setenv("PATH", str(bin_dir))
    with pytest.raises(BaseImageUnavailable, match="apt-get install mmdebstrap"):
        await ensure_base_image(empty, cache_dir=tmp_path / "cache")
