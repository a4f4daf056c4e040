"""The repository's image with our overlay on top, cached by content (architecture §5, field-notes rows 46, 73)."""

import asyncio
import json
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog

from airut_common.processes import ProcessError
from airut_sandbox.errors import SandboxError
from airut_sandbox.image_build import BuildFailed, podman_build
from airut_sandbox.overlay import OVERLAY_FILES, Overlay, git_config, overlay_files
from airut_sandbox.podman import Podman
from airut_sandbox.tree_hash import hash_parts, hash_tree

__all__ = [
    "OVERLAY_FILES",
    "ImageBuildFailed",
    "ImageRef",
    "ImageRefused",
    "Overlay",
    "ensure_image",
    "git_config",
]

_log = structlog.get_logger()

#: Raised when the way images are made changes, so that old ones are not taken for new ones.
_RECIPE = "1"
_INSPECT_SECONDS = 60
_DOCKERFILE = "Dockerfile"
_SHOWN_DOCKERFILE = ".airut/container/Dockerfile"
_BASE_LABEL = "airut.base"
#: Podman obeys these as if they were its own options: CVE-2026-94603 (row 46).
_OBEYED_ANNOTATIONS = "io.podman.annotations."

_in_progress: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()


class ImageRefused(SandboxError):
    """The folder or the image may not be used; `str()` is fit for the user's reply."""


class ImageBuildFailed(SandboxError):
    """`podman build` failed; `output_tail` is the bounded end of its output."""

    def __init__(self, reason: str, output_tail: str) -> None:
        super().__init__(reason)
        self.output_tail = output_tail


@dataclass(frozen=True)
class ImageRef:
    """A ready image. `built` is False when it was there already."""

    id: str
    tag: str
    built: bool


@dataclass(frozen=True)
class _Build:
    """Everything one build needs to know."""

    podman: Podman
    context: Path
    files: Mapping[str, bytes]
    base_image: str | None
    network: Literal["none", "private"]
    labels: Mapping[str, str]
    tag: str
    timeout_seconds: float


async def ensure_image(
    podman: Podman,
    context: Path,
    *,
    overlay: Overlay,
    installation: str,
    repo: str,
    base_image: str | None = None,
    network: Literal["none", "private"] = "none",
    timeout_seconds: float = 1800,
) -> ImageRef:
    """Find or build the image of the folder `context` (an exported `.airut/container`, the only build context).

    `base_image` becomes the build argument `AIRUT_BASE`; when that image changes, so does ours. Callers who want
    the same image wait for one build. The build sees no secret, and no network unless `network` is `private`.

    Raises:
        ImageRefused: no Dockerfile, or the image asks Podman for special treatment.
        ImageBuildFailed: the build failed or took longer than `timeout_seconds`.
    """
    _check_context(context)
    files = overlay_files(overlay)
    content = await asyncio.to_thread(hash_tree, context)
    overlay_hash = hash_parts(*(part for name in sorted(files) for part in (name.encode(), files[name])))
    key = hash_parts(*(part.encode() for part in (_RECIPE, content, overlay_hash, base_image or "", network)))
    tag = f"localhost/airut/{installation}/{repo}:{key[:32]}"
    labels = {"airut.installation": installation, "airut.repo": repo}
    build = _Build(podman, context, files, base_image, network, labels, tag, timeout_seconds)
    # The same tag in two stores is two images: the lock is per store, which the state directory stands for.
    lock = _in_progress.setdefault(f"{podman.state_dir}\0{tag}", asyncio.Lock())
    async with lock:
        return await _find(build) or await _build(build)


def _check_context(context: Path) -> None:
    dockerfile = context / _DOCKERFILE
    if dockerfile.is_symlink() or not dockerfile.is_file():
        raise ImageRefused(
            f"{_SHOWN_DOCKERFILE} is missing on the default branch (it must be a regular file)"
        )


async def _find(build: _Build) -> ImageRef | None:
    names = [build.tag, *([build.base_image] if build.base_image else [])]
    found = await _inspect(build.podman, names)
    if found is None:
        return None
    _refuse_annotations(found[0])
    if build.base_image and _labels(found[0]).get(_BASE_LABEL) != found[1]["Id"]:
        _log.info("base image changed", image=build.tag, base=build.base_image)
        return None
    return ImageRef(found[0]["Id"], build.tag, built=False)


async def _build(build: _Build) -> ImageRef:
    labels = dict(build.labels)
    arguments: list[str] = []
    if build.base_image:
        base = await _inspect(build.podman, [build.base_image])
        # Not here yet: the build pulls it, and the next task finds its id and builds once more.
        labels[_BASE_LABEL] = base[0]["Id"] if base else ""
        arguments += ["--build-arg", f"AIRUT_BASE={build.base_image}"]
    options = [
        f"--network={build.network}",
        "--pull=missing",
        "--force-rm",
        "--http-proxy=false",
        *_label_options(labels),
    ]
    repo_tag = f"{build.tag}-repo"
    loop = asyncio.get_running_loop()
    end = loop.time() + build.timeout_seconds
    dockerfile = str(build.context / _DOCKERFILE)
    await _podman_build(
        build, [*options, *arguments, "-t", repo_tag, "-f", dockerfile, str(build.context)], end
    )
    await _checked(build.podman, repo_tag)
    with tempfile.TemporaryDirectory(prefix="airut-overlay-", dir=build.podman.state_dir) as folder:
        for name, data in build.files.items():
            (Path(folder) / name).write_bytes(data)
        overlay = [
            "--build-arg",
            f"AIRUT_REPO_IMAGE={repo_tag}",
            "-t",
            build.tag,
            "-f",
            f"{folder}/Containerfile",
        ]
        await _podman_build(
            build,
            [
                "--network=none",
                "--pull=never",
                "--http-proxy=false",
                *_label_options(labels),
                *overlay,
                folder,
            ],
            end,
        )
    image = await _checked(build.podman, build.tag)
    return ImageRef(image["Id"], build.tag, built=True)


async def _podman_build(build: _Build, arguments: Sequence[str], end: float) -> None:
    left = max(end - asyncio.get_running_loop().time(), 0.001)
    try:
        await podman_build(build.podman, arguments, timeout_seconds=left)
    except BuildFailed as error:
        what = f"took longer than {build.timeout_seconds:g} seconds" if error.timed_out else "failed"
        raise ImageBuildFailed(f"building {_SHOWN_DOCKERFILE} {what}", error.tail) from error
    except ProcessError as error:
        raise ImageBuildFailed(f"building {_SHOWN_DOCKERFILE} failed ({error})", "") from error


def _label_options(labels: Mapping[str, str]) -> list[str]:
    return [option for name in sorted(labels) for option in ("--label", f"{name}={labels[name]}")]


async def _checked(podman: Podman, name: str) -> dict[str, Any]:
    found = await _inspect(podman, [name])
    if found is None:
        raise ImageBuildFailed(f"building {_SHOWN_DOCKERFILE} left no image", "")
    _refuse_annotations(found[0])
    return found[0]


async def _inspect(podman: Podman, names: Sequence[str]) -> list[dict[str, Any]] | None:
    """What Podman knows of the images, in order; None when one of them is not there."""
    completed = await podman.run(
        "image", "inspect", "--", *names, timeout_seconds=_INSPECT_SECONDS, check=False
    )
    if completed.returncode != 0:
        return None
    images: list[dict[str, Any]] = json.loads(completed.stdout)
    return images


def _labels(image: Mapping[str, Any]) -> Mapping[str, str]:
    return image.get("Labels") or {}


def _refuse_annotations(image: Mapping[str, Any]) -> None:
    for name in (*_labels(image), *(image.get("Annotations") or {})):
        if name.lower().startswith(_OBEYED_ANNOTATIONS):
            raise ImageRefused(
                f"the image carries the annotation {name!r}, which could switch the sandbox off"
            )
