"""The image of a repository: built or found, and looked for early when it most likely is the one of the last task."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from airut_common.contracts.v1 import new_id
from airut_orchestrator.failures import missing
from airut_orchestrator.patience import beside
from airut_sandbox.image import ImageRef, Overlay, ensure_image
from airut_sandbox.mirror import Head, Mirror
from airut_sandbox.podman import Podman

CONTAINER_FOLDER = ".airut/container"


@dataclass(frozen=True)
class Recipe:
    """All that decides what an image holds."""

    repo: str
    head: Head
    overlay: Overlay
    base_image: str | None
    network: Literal["none", "private"]
    mirror: Mirror = field(compare=False)


@dataclass(frozen=True)
class Expected:
    """An image that is being looked for before it is certain that it is the right one."""

    recipe: Recipe
    found: asyncio.Task[ImageRef]


class Images:
    """Images of this installation."""

    def __init__(self, podman: Podman, scratch: Path, installation: str) -> None:
        """`scratch` holds folders that live as long as one build."""
        self._podman = podman
        self._scratch = scratch
        self._installation = installation
        self._last: dict[str, Recipe] = {}

    async def ensure(self, recipe: Recipe) -> ImageRef:
        """Find or build it.

        Raises:
            TaskFailure: the default branch has no folder to build from.
            ImageRefused, ImageBuildFailed, MirrorError: it cannot be built.
        """
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
                network=recipe.network,
            )
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._last[recipe.repo] = recipe
        return image

    @asynccontextmanager
    async def expecting(self, repo: str) -> AsyncIterator[Expected | None]:
        """Look for the image of the repository's last task, beside what goes on meanwhile: Podman takes as long to
        answer as git does, and mostly nothing has changed."""
        recipe = self._last.get(repo)
        if recipe is None:
            yield None
            return
        async with beside(self.ensure(recipe)) as found:
            yield Expected(recipe, found)

    async def take(self, recipe: Recipe, expected: Expected | None) -> ImageRef:
        """The image; from what was looked for early if that is the right one. Raises what `ensure` does."""
        if expected is not None and expected.recipe == recipe:
            return await expected.found
        return await self.ensure(recipe)
