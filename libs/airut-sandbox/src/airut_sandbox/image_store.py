"""Podman's store of images, as files. While its list stays the same, so does what Podman says of the images: to ask
Podman costs a process, for which somebody would wait with every message."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

#: A list younger than this may be replaced within the same tick of the file system's clock.
_SETTLED_SECONDS: Final = 1.0

Inspected = list[dict[str, Any]]
Stamp = tuple[int, int, int]
"""Inode number, time of change in nanoseconds, size."""


@dataclass
class ImageStore:
    """`folder` is that of containers/storage, `GRAPHROOT/DRIVER-images`; None: not known, and nothing is remembered."""

    folder: Path | None = None
    _stamp: Stamp | None = None
    _answers: dict[tuple[str, ...], Inspected] = field(default_factory=dict)

    def stamp(self) -> Stamp | None:
        """What the list is before Podman is asked; None when its answer is not to be remembered."""
        if self.folder is None:
            return None
        try:
            found = (self.folder / "images.json").stat()
        except OSError:
            return None
        age = time.time() - found.st_mtime
        return (found.st_ino, found.st_mtime_ns, found.st_size) if age > _SETTLED_SECONDS else None

    def remembered(self, stamp: Stamp | None, names: Sequence[str]) -> Inspected | None:
        """What was said of these names while the list was the same."""
        return self._answers.get(tuple(names)) if stamp is not None and stamp == self._stamp else None

    def remember(self, stamp: Stamp | None, names: Sequence[str], answer: Inspected) -> None:
        """Keep an answer to a question that was asked after `stamp`. One that rests on another store than ours, whose
        list nobody watches, is not kept."""
        if stamp is None or self.folder is None:
            return
        if not all((self.folder / image["Id"]).is_dir() for image in answer):
            return
        if stamp != self._stamp:
            self._answers.clear()
            self._stamp = stamp
        self._answers[tuple(names)] = answer

    def read_config(self, image_id: str) -> Mapping[str, Any]:
        """An image's own configuration, with the parts that Podman does not show.

        Raises:
            OSError, ValueError: it is not to be read.
        """
        if self.folder is None:
            raise FileNotFoundError
        # containers/storage: an image's documents are files, named after them in base64.
        document = base64.b64encode(f"sha256:{image_id}".encode()).decode()
        config: Mapping[str, Any] = json.loads((self.folder / image_id / f"={document}").read_bytes()).get(
            "config"
        )
        return config or {}
