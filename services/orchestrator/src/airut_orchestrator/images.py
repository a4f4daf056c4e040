"""The image of a repository: built or found, and looked for early when it most likely is the one of the last task."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from airut_common.config.models import BUILD_ALLOWLIST, ImageConfig
from airut_common.contracts.v1 import OpenSession, new_id
from airut_orchestrator.failures import missing
from airut_orchestrator.patience import beside
from airut_orchestrator.sessions import EgressSessions
from airut_sandbox.build_network import BuildNetwork, open_namespace
from airut_sandbox.image import ImageRef, Overlay, ensure_image, find_image
from airut_sandbox.image_build import OnOutput
from airut_sandbox.mirror import Head, Mirror
from airut_sandbox.podman import Podman
from airut_sandbox.spec import INSTALLATION_LABEL, REPO_LABEL

CONTAINER_FOLDER = ".airut/container"


@dataclass(frozen=True)
class Recipe:
    """All that decides what an image holds."""

    repo: str
    head: Head
    overlay: Overlay
    base_image: str | None
    allowlist: str | None
    """What its build reaches; None: nothing."""
    image: ImageConfig
    mirror: Mirror = field(compare=False)


@dataclass(frozen=True)
class Expected:
    """An image that is being looked for before it is certain that it is the right one."""

    recipe: Recipe
    found: asyncio.Task[ImageRef]


@dataclass(frozen=True)
class _Known:
    """The image of a repository's last task. What is made by an equal recipe is found under the same tag."""

    recipe: Recipe
    image: ImageRef


class Images:
    """Images of this installation."""

    def __init__(self, podman: Podman, scratch: Path, installation: str, sessions: EgressSessions) -> None:
        """`scratch` holds folders that live as long as one build, which has a network session of its own."""
        self._podman = podman
        self._sessions = sessions
        self._scratch = scratch
        self._installation = installation
        self._last: dict[str, _Known] = {}

    async def ensure(self, recipe: Recipe, task: str, tell: OnOutput) -> ImageRef:
        """Find or build it; what the build asks of the network is told as requests of `task`, and `tell` gets what it
        says.

        Raises:
            TaskFailure: the default branch has no folder to build from, or the build was refused its network.
            ImageRefused, ImageBuildFailed, MirrorError: it cannot be built.
        """
        max_age = _days(recipe.image.max_age_days)
        known = self._last.get(recipe.repo)
        if known is not None and known.recipe == recipe:
            last = known.image
            if (found := await find_image(self._podman, last.tag, last.watched_base, max_age)) is not None:
                return found
        folder = self._scratch / f"context-{new_id()}"
        try:
            if not await recipe.mirror.export_tree(recipe.head.commit, CONTAINER_FOLDER, folder):
                raise missing(f"{CONTAINER_FOLDER}/Dockerfile", recipe.head.branch)
            image = await ensure_image(
                self._podman,
                folder,
                overlay=recipe.overlay,
                installation=self._installation,
                repo=recipe.repo,
                base_image=recipe.base_image,
                build_args=recipe.image.build_args,
                max_age=max_age,
                network=self._network(recipe, task),
                on_output=tell,
            )
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._last[recipe.repo] = _Known(recipe, image)
        return image

    def _network(self, recipe: Recipe, task: str) -> BuildNetwork | None:
        if recipe.allowlist is None:
            return None
        question = OpenSession(
            sandbox=new_id(),
            task=task,
            repo=recipe.repo,
            policy=recipe.allowlist,
            policy_source=BUILD_ALLOWLIST,
            with_credentials=False,
        )
        labels = {INSTALLATION_LABEL: self._installation, REPO_LABEL: recipe.repo}

        @asynccontextmanager
        async def network(image: str) -> AsyncIterator[Path]:
            name = f"airut-build-{question.sandbox}"
            async with (
                self._sessions.session(question) as session,
                open_namespace(self._podman, image, name=name, labels=labels) as (holder, namespace),
            ):
                await session.attach(holder)
                yield namespace

        return network

    @asynccontextmanager
    async def expecting(self, repo: str, task: str, tell: OnOutput) -> AsyncIterator[Expected | None]:
        """Look for the image of the repository's last task, beside what goes on meanwhile: Podman takes as long to
        answer as git does, and mostly nothing has changed."""
        known = self._last.get(repo)
        if known is None:
            yield None
            return
        async with beside(self.ensure(known.recipe, task, tell)) as found:
            yield Expected(known.recipe, found)


def _days(number: int | None) -> timedelta | None:
    return None if number is None else timedelta(days=number)
