"""A conversation's own full copy of a repository."""

from pathlib import Path

from airut_sandbox.mirror import Head, Mirror


class WorkspaceExists(Exception):
    """The target is there already; the host never runs git in a used workspace."""


async def create_workspace(mirror: Mirror, head: Head, target: Path, remote_url: str, *, timeout_seconds: float = 300) -> None:
    """Clone `mirror` to `target`: no shared inode, no alternates, no hooks, `origin` = remote_url. Raises WorkspaceExists, MirrorError."""
    raise NotImplementedError
