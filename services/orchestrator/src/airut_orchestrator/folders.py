"""A conversation's folders on the host, and where the sandbox sees them."""

import asyncio
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from airut_orchestrator.failures import TaskFailure
from airut_sandbox.beneath import discard_tree
from airut_sandbox.container import Mount
from airut_sandbox.podman import Podman

AGENT_PROGRAM = "/opt/airut/agent/claude"
_KEPT = ("workspace", "storage", "agent")
_OF_ONE_TASK = ("inbox", "outbox")
_TOO_FULL = "too-full"
_BEGUN_ANEW = "begun-anew"


@dataclass(frozen=True)
class ConversationFolders:
    """`root` is the host's own; what lies below its five folders is the sandbox's, and hostile."""

    root: Path

    @property
    def workspace(self) -> Path:
        """The clone."""
        return self.root / "workspace"

    @property
    def has_workspace(self) -> bool:
        """Whether an earlier task has used one."""
        return self.workspace.exists(follow_symlinks=False)

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

    @property
    def are_too_full(self) -> bool:
        """Whether the last task left more in them than they may hold."""
        return (self.root / _TOO_FULL).exists(follow_symlinks=False)

    def note_too_full(self, *, too_full: bool) -> None:
        """For the next task."""
        if too_full:
            (self.root / _TOO_FULL).touch()
        else:
            (self.root / _TOO_FULL).unlink(missing_ok=True)

    async def make_ready(self, podman: Podman, *, anew_for: str | None = None) -> bool:
        """Create what is missing, empty what belongs to one task only, and clear what a killed process left. `anew_for`
        names a task that begins the conversation anew: what lies here from before its first try goes, and the answer is
        whether this is that try."""
        self.root.parent.mkdir(mode=0o700, exist_ok=True)
        self.root.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.inbox, self.outbox):
            await discard_tree(folder, podman)
        begins_anew = anew_for is not None and self._begun_anew_for() != anew_for
        if begins_anew:
            for name in _KEPT:
                await discard_tree(self.root / name, podman)
            self.note_too_full(too_full=False)
        await asyncio.to_thread(self._make)
        if anew_for is not None:
            (self.root / _BEGUN_ANEW).write_text(anew_for)
        return begins_anew

    def _begun_anew_for(self) -> str | None:
        try:
            return (self.root / _BEGUN_ANEW).read_text()
        except FileNotFoundError:
            return None

    def _make(self) -> None:
        for entry in self.root.iterdir():
            # Drafts of a workspace; no sandbox has ever seen them.
            if entry.name not in (*_KEPT, *_OF_ONE_TASK, _TOO_FULL, _BEGUN_ANEW):
                shutil.rmtree(entry, ignore_errors=True)
        self.outbox.mkdir()
        self.storage.mkdir(exist_ok=True)
        self.agent.mkdir(exist_ok=True)

    def check(self) -> None:
        """Every folder is there and is one. A link here would show another part of the host inside.

        Raises:
            TaskFailure: naming the folder.
        """
        for name in (*_KEPT, *_OF_ONE_TASK):
            try:
                mode = (self.root / name).lstat().st_mode
            except FileNotFoundError:
                mode = 0
            if not stat.S_ISDIR(mode):
                raise TaskFailure(
                    f"the conversation's folder {name} is damaged",
                    f"This conversation's data on the host is damaged (`{name}` is no folder), so nothing was run. "
                    "Please tell the operator, or begin a new conversation.",
                    "failed",
                )

    def mounts(self, program: Path) -> tuple[Mount, ...]:
        """What the sandbox sees of the host: these folders and the agent's program, nothing else."""
        return (
            Mount(self.workspace, "/workspace"),
            Mount(self.inbox, "/inbox", read_only=True),
            Mount(self.outbox, "/outbox"),
            Mount(self.storage, "/storage"),
            Mount(self.agent, "/agent"),
            Mount(program, AGENT_PROGRAM, read_only=True),
        )
