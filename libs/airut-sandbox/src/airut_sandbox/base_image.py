"""A small Debian image for hosts without a container registry, and for the demo and the tests."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

from airut_common import processes
from airut_common.processes import ProcessError

from .errors import BaseImageUnavailable
from .image_facts import image_exists
from .locks import file_lock
from .podman import Podman

#: What is in it; changing a word gives the image another name.
RECIPE: Final = (
    "--variant=apt",
    "--include=ca-certificates,curl,git,openssl,python3",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "bookworm",
)
FALLBACK: Final = "docker.io/library/debian:bookworm-slim"
_DIGEST: Final = hashlib.sha256("\0".join(RECIPE).encode()).hexdigest()[:12]
REFERENCE: Final = f"localhost/airut-base:{_DIGEST}"
ARCHIVE_NAME: Final = f"{_DIGEST}.tar"

_BUILD_SECONDS: Final = 900.0


async def ensure_base_image(podman: Podman, *, cache_dir: Path | None = None) -> str:
    """The reference of the base image (`localhost/airut-base:<hash of the recipe>`), built when it is missing.

    `cache_dir` keeps the archive, which any user can import again; None takes a folder in Podman's state.
    Without `mmdebstrap` the answer is the reference of a small public image, which lacks git and curl.

    Raises:
        BaseImageUnavailable: it could neither be built nor fetched.
    """
    folder = cache_dir or podman.state_dir / "base-image"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if await image_exists(podman, REFERENCE):
            return REFERENCE
        if shutil.which("mmdebstrap") is None and not (folder / ARCHIVE_NAME).exists():
            return await _pull(podman)
        archive = await ensure_base_archive(folder)
        await podman.run("import", "--quiet", str(archive), REFERENCE, timeout_seconds=300)
    except (ProcessError, OSError) as error:
        raise BaseImageUnavailable(f"the base image could not be made: {error}") from error
    return REFERENCE


async def ensure_base_archive(folder: Path) -> Path:
    """The base image as an archive in `folder`, built when it is missing. Processes started together build once.

    Raises:
        BaseImageUnavailable: it could not be built.
    """
    archive = folder / ARCHIVE_NAME
    try:
        async with file_lock(folder / "lock", timeout_seconds=_BUILD_SECONDS):
            if not archive.exists():
                await _build(archive)
    except (ProcessError, OSError) as error:
        raise BaseImageUnavailable(f"the base image could not be made: {error}") from error
    return archive


async def _pull(podman: Podman) -> str:
    if not await image_exists(podman, FALLBACK):
        try:
            await podman.run("pull", "--quiet", FALLBACK, timeout_seconds=_BUILD_SECONDS)
        except ProcessError as error:
            raise BaseImageUnavailable(
                f"mmdebstrap is not installed and {FALLBACK} cannot be fetched; "
                f"install mmdebstrap, for example with: apt-get install mmdebstrap ({error})"
            ) from error
    return FALLBACK


async def _build(archive: Path) -> None:
    """Make the archive. It appears whole or not at all."""
    # mmdebstrap's unprivileged mode gives files to subordinate ids and writes the archive through a pipe; the
    # system's own folder for temporary files is the one that those ids may enter.
    unfinished = archive.with_suffix(f".{os.getpid()}.tar")
    try:
        await processes.run(
            ["mmdebstrap", "--quiet", *RECIPE, str(unfinished)],
            timeout_seconds=_BUILD_SECONDS,
            env={name: value for name, value in os.environ.items() if name != "TMPDIR"},
        )
        unfinished.rename(archive)
    finally:
        unfinished.unlink(missing_ok=True)
