"""The repository's image and our overlay, cached by content."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from airut_sandbox.podman import Podman


class ImageRefused(Exception):
    """The folder or the image may not be used; `str()` is fit for the user's reply."""


class ImageBuildFailed(Exception):
    """`podman build` failed; `output_tail` is the bounded end of its output."""

    def __init__(self, reason: str, output_tail: str) -> None:
        super().__init__(reason)
        self.output_tail = output_tail


@dataclass(frozen=True)
class Overlay:
    """What is put on top of the repository's image: the CA to trust (PEM) and the text of /etc/airut/gitconfig."""

    ca_pem: bytes
    git_config: str


@dataclass(frozen=True)
class ImageRef:
    """A ready image. `built` is False when it was there already."""

    id: str
    tag: str
    built: bool


def git_config(*, credential_variables: Mapping[str, tuple[str, str]], user_name: str, user_email: str) -> str:
    """Text for `Overlay.git_config`; maps `https://host` to (username, environment variable holding the surrogate)."""
    raise NotImplementedError


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
    """Build (or find) the image of the folder `context` (an exported `.airut/container`). Raises ImageRefused, ImageBuildFailed."""
    raise NotImplementedError
