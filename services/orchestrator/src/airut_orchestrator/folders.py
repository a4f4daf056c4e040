"""A conversation's folders on the host, and where the sandbox sees them."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from airut_sandbox.beneath import discard_tree
from airut_sandbox.container import Mount
from airut_sandbox.podman import Podman


@dataclass(frozen=True)
class ConversationFolders:
    """`root` is the host's own; what lies below its five folders is the sandbox's, and hostile."""

    root: Path

    @property
    def workspace(self) -> Path:
        """The clone."""
        return self.root / "workspace"

    @property
    def inbox(self) -> Path:
        """Attachments of the running task."""
        return self.root / "inbox"

    @property
    def outbox(self) -> Path:
        """What the agent returns."""
        return self.root / "outbox"

    @property
    def storage(self) -> Path:
        """Stays for the conversation."""
        return self.root / "storage"

    @property
    def agent(self) -> Path:
        """The agent's own state: its sessions."""
        return self.root / "agent"

    async def make_ready(self, podman: Podman) -> None:
        """Create what is missing, and empty what belongs to one task only."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.inbox, self.outbox):
            await discard_tree(folder, podman)
        await asyncio.to_thread(self._make)

    def _make(self) -> None:
        self.outbox.mkdir()
        for folder in (self.storage, self.agent):
            # A link that a sandbox could have put here would be outside of what it can write: `root` is ours.
            folder.mkdir(exist_ok=True)

    def mounts(self, program: Path) -> tuple[Mount, ...]:
        """What the sandbox sees of the host: these folders and the agent's program, nothing else."""
        return (
            Mount(self.workspace, "/workspace"),
            Mount(self.inbox, "/inbox", read_only=True),
            Mount(self.outbox, "/outbox"),
            Mount(self.storage, "/storage"),
            Mount(self.agent, "/agent"),
            Mount(program, "/opt/airut/agent/claude", read_only=True),
        )
