"""What a git remote says it has, and how long it may take to say it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Remote:
    """What the remote says it has: the default branch and all branches and tags."""

    branch: str
    refs: Mapping[str, str]

    @property
    def object_format(self) -> str:
        """How it names objects, by the length of the names: sha1 has 40 digits, sha256 64."""
        return "sha256" if any(len(value) == 64 for value in self.refs.values()) else "sha1"


def parse_ls_remote(output: str) -> Remote:
    """The default branch ("" when HEAD names none) and the branches and tags of `git ls-remote --symref`."""
    branch = ""
    refs: dict[str, str] = {}
    for line in output.splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: refs/heads/"):
            branch = value.removeprefix("ref: refs/heads/")
        elif name.startswith(("refs/heads/", "refs/tags/")) and not name.endswith("^{}"):
            refs[name] = value
    return Remote(branch, refs)


class Clock:
    """What is left of a deadline."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, never negative."""
        return max(self._end - time.monotonic(), 0.0)
