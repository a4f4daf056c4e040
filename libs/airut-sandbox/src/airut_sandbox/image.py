"""The repository's image with our overlay on top, cached by content (architecture §5, field-notes rows 46, 73)."""

import asyncio
import tempfile
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog

from airut_common.contracts.v1 import utc_now
from airut_common.processes import ProcessError
from airut_sandbox.build_network import BuildNetwork, build_options, declare_variables
from airut_sandbox.dockerfile import DockerfileRefused, check_dockerfile
from airut_sandbox.errors import SandboxError
from airut_sandbox.image_build import BuildFailed, OnOutput, podman_build
from airut_sandbox.image_facts import (
    ImageRefused,
    created_at,
    inspect_images,
    labels_of,
    refuse_annotations,
    refuse_triggers,
)
from airut_sandbox.overlay import Overlay, git_config, overlay_files
from airut_sandbox.podman import Podman
from airut_sandbox.spec import INSTALLATION_LABEL, REPO_LABEL
from airut_sandbox.tree_hash import hash_parts, hash_tree

__all__ = [
    "DockerfileRefused",
    "ImageBuildFailed",
    "ImageRef",
    "ImageRefused",
    "Overlay",
    "ensure_image",
    "find_image",
    "git_config",
]

_log = structlog.get_logger()

#: Raised when the way images are made changes, so that old ones are not taken for new ones.
_RECIPE = "2"
_DOCKERFILE = "Dockerfile"
_SHOWN_DOCKERFILE = ".airut/container/Dockerfile"
_BASE_LABEL = "airut.base"

_in_progress: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()


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
    watched_base: str | None
    """The installation's base image, where the Dockerfile uses it: its change makes a new image."""


@dataclass(frozen=True)
class _Build:
    """Everything one build needs to know."""

    podman: Podman
    context: Path
    files: Mapping[str, bytes]
    bases: Sequence[str]
    watched_base: str | None
    """The installation's base image, where the Dockerfile uses it: its change makes a new image."""
    arguments: Mapping[str, str]
    dockerfile: str
    network: BuildNetwork | None
    max_age: timedelta | None
    on_output: OnOutput | None
    labels: Mapping[str, str]
    tag: str
    timeout_seconds: float
    deadline: float


async def ensure_image(
    podman: Podman,
    context: Path,
    *,
    overlay: Overlay,
    installation: str,
    repo: str,
    base_image: str | None = None,
    build_args: Mapping[str, str] = MappingProxyType({}),
    max_age: timedelta | None = None,
    network: BuildNetwork | None = None,
    on_output: OnOutput | None = None,
    timeout_seconds: float = 1800,
) -> ImageRef:
    """Find or build the image of the folder `context` (an exported `.airut/container`, the only build context).

    `base_image` becomes the build argument `AIRUT_BASE`; when that image changes, so does ours. One that is older than
    `max_age` is built anew, from nothing that an earlier build left. `on_output` gets what a build says. Callers who
    want the same image wait for one build. The build sees no secret, and no network but `network`, which is opened only
    if something is built.

    Raises:
        ImageRefused: no Dockerfile, or an image that asks Podman for special treatment.
        DockerfileRefused: it asks for something that a build may not have.
        ImageBuildFailed: the build failed or took longer than `timeout_seconds`.
    """
    context = context.absolute()  # Podman works in another folder
    arguments = {**build_args, **({"AIRUT_BASE": base_image} if base_image else {})}
    dockerfile = await asyncio.to_thread(_read_dockerfile, context)
    bases = check_dockerfile(dockerfile, arguments)
    if network is not None:
        dockerfile = declare_variables(dockerfile)
        check_dockerfile(dockerfile, arguments)
    files = overlay_files(overlay)
    content = await asyncio.to_thread(hash_tree, context)
    overlay_hash = hash_parts(*(part for name in sorted(files) for part in (name.encode(), files[name])))
    reach = "none" if network is None else "egress"
    given = hash_parts(*(part.encode() for name in sorted(build_args) for part in (name, build_args[name])))
    parts = (_RECIPE, content, overlay_hash, base_image or "", reach, given)
    key = hash_parts(*(part.encode() for part in parts))
    build = _Build(
        podman=podman,
        context=context,
        files=files,
        bases=bases,
        watched_base=base_image if base_image in bases else None,
        arguments=arguments,
        dockerfile=dockerfile,
        network=network,
        max_age=max_age,
        on_output=on_output,
        labels={INSTALLATION_LABEL: installation, REPO_LABEL: repo},
        tag=f"localhost/airut/{installation}/{repo}:{key[:32]}",
        timeout_seconds=timeout_seconds,
        deadline=asyncio.get_running_loop().time() + timeout_seconds,
    )
    # The same tag in two stores is two images: the lock is per store, which the state directory stands for.
    lock = _in_progress.setdefault(f"{podman.state_dir}\0{build.tag}", asyncio.Lock())
    async with lock:
        return await find_image(podman, build.tag, build.watched_base, max_age) or await _build(build)


def _read_dockerfile(context: Path) -> str:
    dockerfile = context / _DOCKERFILE
    if dockerfile.is_symlink() or not dockerfile.is_file():
        raise ImageRefused(
            f"{_SHOWN_DOCKERFILE} is missing on the default branch (it must be a regular file)"
        )
    try:
        return dockerfile.read_text("utf-8")
    except UnicodeDecodeError:
        raise ImageRefused(f"{_SHOWN_DOCKERFILE} is not UTF-8 text") from None


async def find_image(
    podman: Podman, tag: str, watched_base: str | None, max_age: timedelta | None
) -> ImageRef | None:
    """The image that `ensure_image` made under this tag; None when it has to be made anew.

    Raises:
        ImageRefused: it asks Podman for special treatment.
        ImageBuildFailed: Podman cannot read its images.
    """
    found = await _inspect(podman, [tag, *([watched_base] if watched_base else [])])
    if found is None:
        return None
    refuse_annotations(found[0])
    if watched_base and labels_of(found[0]).get(_BASE_LABEL) != found[1]["Id"]:
        _log.info("base image changed", image=tag, base=watched_base)
        return None
    if max_age is not None and created_at(found[0]) < utc_now() - max_age:
        _log.info("image too old", image=tag)
        return None
    return ImageRef(found[0]["Id"], tag, built=False, watched_base=watched_base)


async def _build(build: _Build) -> ImageRef:
    ids = {name: await _base_id(build, name) for name in build.bases}
    refuse_triggers(build.podman, list(ids.items()))
    labels = {**build.labels, _BASE_LABEL: ids.get(build.watched_base or "", "")}
    repo_tag = f"{build.tag}-repo"
    async with _networked(build, ids) as options:
        await _podman_build(
            build,
            [
                *(*options, "--pull=missing", *_always(labels)),
                # Layers that an earlier build left may be of any age.
                *(["--no-cache"] if build.max_age is not None else []),
                *(f"--build-arg={name}={value}" for name, value in build.arguments.items()),
                *("-t", repo_tag, str(build.context)),
            ],
        )
    await _checked(build.podman, repo_tag)
    with tempfile.TemporaryDirectory(prefix="airut-overlay-", dir=build.podman.state_dir) as folder:
        for name, data in build.files.items():
            (Path(folder) / name).write_bytes(data)
        await _podman_build(
            build,
            [
                # One layer: its parts are never wanted alone, and looking for them in the cache costs time.
                *("--network=none", "--pull=never", "--layers=false", *_always(labels)),
                f"--build-arg=AIRUT_REPO_IMAGE={repo_tag}",
                *("-t", build.tag, "-f", f"{folder}/Containerfile", folder),
            ],
        )
    image = await _checked(build.podman, build.tag)
    return ImageRef(image["Id"], build.tag, built=True, watched_base=build.watched_base)


@asynccontextmanager
async def _networked(build: _Build, bases: Mapping[str, str]) -> AsyncIterator[list[str]]:
    """Options of the build of the repository's own image. Without a base image no step could run anything."""
    if build.network is None or not bases:
        yield ["--network=none", f"--file={build.context / _DOCKERFILE}"]
        return
    with tempfile.TemporaryDirectory(prefix="airut-build-", dir=build.podman.state_dir) as folder:
        dockerfile, ca_file = Path(folder, _DOCKERFILE), Path(folder, "ca.pem")
        dockerfile.write_text(build.dockerfile, "utf-8")
        ca_file.write_bytes(build.files["ca.pem"])
        # Every user of a build step may read it, and it is no secret.
        Path(folder).chmod(0o755)
        async with build.network(next(iter(bases.values()))) as namespace:
            yield [*build_options(build.podman, namespace, ca_file), f"--file={dockerfile}"]


async def _base_id(build: _Build, name: str) -> str:
    """The id of a base image: it is looked at before anything builds on it. Pulled when it is not here, and where
    images may only reach some age also when it is: then the one that is here is second best."""
    found = await _inspect(build.podman, [name])
    may_be_newer = build.max_age is not None and not name.startswith(
        "localhost/"
    )  # Podman's name for "made here"
    if found is None or may_be_newer:
        try:
            await build.podman.run("pull", "--quiet", "--", name, timeout_seconds=_left(build))
        except ProcessError as error:
            if found is None:
                raise ImageBuildFailed(
                    f"the base image {name} could not be pulled", str(error)[-1000:]
                ) from error
            _log.info("base image not refreshed", base=name, reason=str(error)[-200:])
        found = await _inspect(build.podman, [name])
    if found is None:
        raise ImageBuildFailed(f"the base image {name} could not be pulled", "")
    refuse_annotations(found[0])
    image_id: str = found[0]["Id"]
    return image_id


def _left(build: _Build) -> float:
    return max(build.deadline - asyncio.get_running_loop().time(), 0.001)


async def _podman_build(build: _Build, arguments: Sequence[str]) -> None:
    try:
        await podman_build(build.podman, arguments, timeout_seconds=_left(build), on_output=build.on_output)
    except BuildFailed as error:
        what = f"took longer than {build.timeout_seconds:g} seconds" if error.timed_out else "failed"
        raise ImageBuildFailed(f"building {_SHOWN_DOCKERFILE} {what}", error.tail) from error
    except ProcessError as error:
        raise ImageBuildFailed(f"building {_SHOWN_DOCKERFILE} failed ({error})", "") from error


async def _inspect(podman: Podman, names: Sequence[str]) -> list[dict[str, Any]] | None:
    try:
        return await inspect_images(podman, names)
    except ProcessError as error:
        raise ImageBuildFailed("Podman cannot read its images", str(error)[-1000:]) from error


def _always(labels: Mapping[str, str]) -> list[str]:
    return [
        "--force-rm",
        "--http-proxy=false",
        *(f"--label={name}={labels[name]}" for name in sorted(labels)),
    ]


async def _checked(podman: Podman, name: str) -> dict[str, Any]:
    found = await _inspect(podman, [name])
    if found is None:
        raise ImageBuildFailed(f"building {_SHOWN_DOCKERFILE} left no image", "")
    refuse_annotations(found[0])
    return found[0]
