"""What a task needs before its sandbox exists: each step timed, and independent of the others where it can be."""

import asyncio
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from airut_common.bus import Bus
from airut_common.config.models import RepoConfig, ServerConfig
from airut_common.contracts.v1 import BlobRef, TaskRequest
from airut_common.secrets import Secret
from airut_orchestrator.failures import TaskFailure, disk_full, misconfigured, missing
from airut_orchestrator.folders import ConversationFolders
from airut_orchestrator.images import Images, Recipe
from airut_orchestrator.patience import patiently
from airut_orchestrator.prompt import BUILT_IN, MAX_PREAMBLE_BYTES, PREAMBLE_FILE, BadPreamble, Preamble
from airut_orchestrator.reserve import Reserve
from airut_orchestrator.sessions import EgressSessions
from airut_sandbox.agent_channel import AgentProgram, Agents
from airut_sandbox.git_progress import OnProgress
from airut_sandbox.image import Overlay, git_config
from airut_sandbox.mirror import MAX_FILE_BYTES, Head, Mirror
from airut_sandbox.outbox import InboxEntry, InboxFile, fill_inbox
from airut_sandbox.podman import Podman
from airut_sandbox.workspace import create_workspace

POLICY_FILE = ".airut/network-allowlist.yaml"
BLOB_SECONDS = 30.0


@dataclass
class Stopwatch:
    """Milliseconds by stage."""

    timings_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.timings_ms[name] = round((time.monotonic() - began) * 1000, 1)


@dataclass(frozen=True)
class Origin:
    """A repository as it is configured, and its copy on this host."""

    repo_id: str
    repo: RepoConfig
    server: ServerConfig
    mirror: Mirror


@dataclass(frozen=True)
class Source(Origin):
    """A repository with its default branch as it is, or as it was last known."""

    head: Head


@dataclass(frozen=True)
class NetworkPolicy:
    """What a sandbox may reach."""

    text: str
    source: str
    """How messages call it."""


@dataclass(frozen=True)
class _File:
    """A file of a commit."""

    commit: str
    data: bytes | None
    """None: it has none of that name."""


EVERYTHING: Final = NetworkPolicy('domains: ["*"]\n', "network_sandbox: false")


class Preparer:
    """The steps, on this host."""

    def __init__(
        self,
        *,
        podman: Podman,
        bus: Bus,
        sessions: EgressSessions,
        state: Path,
        cache: Path,
        installation: str,
        reserve: Reserve,
    ) -> None:
        """`state` is the service's own folder; `cache` may be shared with other installations."""
        self.podman = podman
        self.bus = bus
        self.installation = installation
        self._state = state
        self.agents = Agents(cache / "agents")
        self._reserve = reserve
        self._scratch = state / "scratch"
        self.images = Images(podman, self._scratch, installation, sessions)
        self._heads: dict[str, Head] = {}
        self._files: dict[tuple[str, str], _File] = {}

    def clean(self) -> None:
        """At start: remove what a killed process left."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(mode=0o700)

    def folders(self, conversation: str) -> ConversationFolders:
        """A conversation's folders."""
        return ConversationFolders(self.conversations / conversation)

    @property
    def conversations(self) -> Path:
        """Holds a folder for each conversation."""
        return self._state / "conversations"

    def check_space(self, min_free_mib: int) -> None:
        """Refuse to begin on a full disk: what a task writes half is worth nothing, and the reply itself needs room.

        Raises:
            TaskFailure: it is full.
        """
        if shutil.disk_usage(self._state).free < min_free_mib * 1024 * 1024:
            raise TaskFailure("the disk is full", disk_full())
        self._reserve.take()

    def origin(self, repo_id: str, repo: RepoConfig, server: ServerConfig) -> Origin:
        """Where the repository comes from.

        Raises:
            TaskFailure: the repository's configuration cannot be used.
        """
        path = self._state / "mirrors" / f"{repo_id}.git"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        ca_file = repo.git.ca_file or server.egress.ca_file
        try:
            mirror = Mirror(path, repo.git.url, ca_file, connect_to=server.egress.connect_to)
        except ValueError as error:
            raise misconfigured(error) from None
        return Origin(repo_id, repo, server, mirror)

    def mirrors(self, repos: Mapping[str, RepoConfig], server: ServerConfig) -> Iterator[Mirror]:
        """Those of the repositories that were used here already."""
        for repo_id, repo in repos.items():
            with suppress(TaskFailure):  # whoever sends it a message is told
                mirror = self.origin(repo_id, repo, server).mirror
                if mirror.path.exists():
                    yield mirror

    async def fetch(
        self, origin: Origin, token: Secret | None, watch: Stopwatch, on_progress: OnProgress
    ) -> Head:
        """Bring the mirror up to date; `on_progress` is told how far a long fetch is.

        Raises:
            MirrorError: the remote or its content cannot be used.
        """
        with watch.stage("mirror"):
            head = await origin.mirror.fetch(origin.repo.git.username, token, on_progress=on_progress)
        self._heads[origin.repo_id] = head
        return head

    def last_head(self, origin: Origin) -> Head | None:
        """What the last fetch here said. It may be out of date: what is prepared by it counts only after a fetch has
        said the same."""
        return self._heads.get(origin.repo_id)

    async def policy(self, source: Source) -> NetworkPolicy:
        """The network policy on the default branch; where the operator has switched the network sandbox off, one that
        allows every public host.

        Raises:
            TaskFailure: there is none, or it is no text.
        """
        if not source.repo.network_sandbox:
            return EVERYTHING
        data = await self._read(source, POLICY_FILE)
        if data is None:
            raise missing(POLICY_FILE, source.head.branch)
        try:
            return NetworkPolicy(data.decode("utf-8"), POLICY_FILE)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise TaskFailure(
                f"{POLICY_FILE} is not UTF-8",
                f"`{POLICY_FILE}:{line}` on the default branch is not UTF-8 text, so nothing was run. "
                "Mend it, merge, and reply in this thread.",
            ) from None

    async def preamble(self, source: Source) -> Preamble:
        """What the agent is told before each message: the repository's own text on the default branch, or ours.

        Raises:
            TaskFailure: it cannot be used.
        """
        data = await self._read(source, PREAMBLE_FILE, max_bytes=MAX_PREAMBLE_BYTES)
        if data is None:
            return BUILT_IN
        try:
            return Preamble.parse(data)
        except BadPreamble as error:
            raise TaskFailure(
                f"{PREAMBLE_FILE}: {error}",
                f"`{PREAMBLE_FILE}` on the default branch cannot be used, so nothing was run: {error}. "
                "Mend it, merge, and reply in this thread.",
            ) from None

    async def _read(self, source: Source, path: str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """A file as the mirror has it; it is not asked again while the commit, which says it all, is the same."""
        key, commit = (source.repo_id, path), source.head.commit
        known = self._files.get(key)
        if known is None or known.commit != commit:
            data = await source.mirror.read_file(commit, path, max_bytes=max_bytes)
            known = self._files[key] = _File(commit, data)
        return known.data

    def recipe(self, source: Source, ca_pem: str) -> Recipe:
        """What the repository's image is made of.

        Raises:
            TaskFailure: the repository's configuration cannot be used.
        """
        try:
            overlay = Overlay(ca_pem.encode(), _git_config(source.repo))
        except ValueError as error:
            raise misconfigured(error) from None
        sandbox = source.server.sandbox
        return Recipe(
            source.repo_id,
            source.head,
            overlay,
            sandbox.base_image,
            sandbox.build_allowlist,
            source.repo.image,
            source.mirror,
        )

    async def workspace(
        self, source: Source, folders: ConversationFolders, watch: Stopwatch, on_progress: OnProgress
    ) -> None:
        """A full copy for a new conversation; the host runs no git in a used one (field notes 40)."""
        with watch.stage("workspace"):
            if not folders.has_workspace:
                await create_workspace(
                    source.mirror,
                    source.head,
                    folders.workspace,
                    source.repo.git.url,
                    on_progress=on_progress,
                )

    async def agent(self, wanted: str, watch: Stopwatch) -> AgentProgram:
        """The agent's program, of a version or a channel.

        Raises:
            AgentUnavailable: it cannot be had.
        """
        with watch.stage("agent"):
            return await self.agents.ensure(wanted)

    async def inbox(
        self, folders: ConversationFolders, requests: Sequence[TaskRequest], watch: Stopwatch
    ) -> tuple[InboxEntry, ...]:
        """Attachments of all messages from the object store into `/inbox`; what lies there.

        Raises:
            TaskFailure: one of them is gone.
            BusUnavailable: the object store does not answer.
        """
        with watch.stage("inbox"):
            files = [
                InboxFile(ref.name, await self._blob(ref), ref.media_type, number)
                for number, request in enumerate(requests, 1)
                for ref in request.attachments
            ]
            return await asyncio.to_thread(fill_inbox, folders.inbox, files)

    async def _blob(self, ref: BlobRef) -> bytes:
        try:
            return await patiently(lambda: self.bus.get_blob(ref), BLOB_SECONDS)
        except LookupError as error:
            raise TaskFailure(
                f"attachment: {error}",
                f"An attachment could not be read ({error}). Nothing was run. Please send it again.",
            ) from None


def _git_config(repo: RepoConfig) -> str:
    variables = {}
    if repo.git.push_credential is not None:
        scheme, _, rest = repo.git.url.partition("://")
        variables[f"{scheme}://{rest.partition('/')[0]}"] = (repo.git.username, repo.git.push_credential)
    return git_config(credential_variables=variables, user_name="Airut", user_email=repo.address[0])
