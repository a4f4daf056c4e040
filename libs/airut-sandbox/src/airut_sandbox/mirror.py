"""A bare mirror of one repository: the only git directory on which the host runs git."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from airut_common.secrets import Secret

MirrorProblem = Literal["unreachable", "refused", "not-a-repository", "empty", "timed-out", "unusable-tree", "broken"]


class MirrorError(Exception):
    """The remote or its content cannot be used; `str()` is one line fit for the user's reply."""

    def __init__(self, problem: MirrorProblem, reason: str) -> None:
        super().__init__(reason)
        self.problem = problem


@dataclass(frozen=True)
class Head:
    """The remote's default branch (`release/main` keeps its slash) and the commit it points to."""

    branch: str
    commit: str


@dataclass(frozen=True)
class TreeLimits:
    """What an exported folder may hold."""

    max_files: int = 2_000
    max_total_bytes: int = 64 * 1024 * 1024


class Mirror:
    """One repository's mirror at `path`; `connect_to` maps its host name to an `address:port` to dial instead."""

    def __init__(
        self,
        path: Path,
        url: str,
        ca_file: Path | None = None,
        *,
        connect_to: Mapping[str, str] | None = None,
        allowed_protocols: frozenset[str] = frozenset({"https"}),
    ) -> None:
        raise NotImplementedError

    async def fetch(self, username: str, token: Secret | None, *, timeout_seconds: float = 300) -> Head:
        """Bring the mirror up to date and read the remote's HEAD again. Raises MirrorError."""
        raise NotImplementedError

    async def read_file(self, commit: str, path: str, *, max_bytes: int = 1024 * 1024) -> bytes | None:
        """A regular file's bytes; None when there is no such path. Raises MirrorError (link, too large)."""
        raise NotImplementedError

    async def export_tree(self, commit: str, folder: str, target: Path, *, limits: TreeLimits = TreeLimits()) -> bool:
        """Write `folder` to `target`, which must not exist. False when the commit has no such folder. Raises MirrorError."""
        raise NotImplementedError
