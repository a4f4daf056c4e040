"""Everything a sandbox needs before it can be made: mirror, image, workspace, agent, inbox. Steps that do not need each
other run side by side; each is timed."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airut_common.bus import Bus
from airut_common.config.models import RepoConfig, ServerConfig
from airut_common.contracts.v1 import BlobRef
from airut_common.secrets import Secret
from airut_orchestrator.failures import TaskFailure
from airut_orchestrator.folders import ConversationFolders
from airut_sandbox.agent_binary import ensure_agent
from airut_sandbox.image import ImageRef, Overlay, ensure_image, git_config
from airut_sandbox.mirror import Head, Mirror
from airut_sandbox.outbox import InboxFile, fill_inbox
from airut_sandbox.podman import Podman
from airut_sandbox.workspace import create_workspace

POLICY_FILE = ".airut/network-allowlist.yaml"
CONTAINER_FOLDER = ".airut/container"


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
class Preparer:
    """What preparing needs of this host."""

    podman: Podman
    bus: Bus
    state: Path
    cache: Path
    installation: str

    def mirror(self, repo_id: str, repo: RepoConfig, server: ServerConfig) -> Mirror:
        """The repository's mirror.

        Raises:
            TaskFailure: the configured URL cannot be used.
        """
        try:
            return Mirror(
                self.state / "mirrors" / f"{repo_id}.git",
                repo.git.url,
                repo.git.ca_file or server.egress.ca_file,
                connect_to=server.egress.connect_to,
            )
        except ValueError as error:
            raise TaskFailure(
                f"configuration: {error}", f"The repository is not configured well: {error}"
            ) from None

    async def fetch(self, mirror: Mirror, repo: RepoConfig, token: Secret | None, watch: Stopwatch) -> Head:
        """Bring the mirror up to date."""
        with watch.stage("mirror"):
            mirror.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return await mirror.fetch(repo.git.username, token)

    async def policy(self, mirror: Mirror, head: Head) -> str:
        """The network policy's text on the default branch.

        Raises:
            TaskFailure: there is none, or it is no text.
        """
        data = await mirror.read_file(head.commit, POLICY_FILE)
        if data is None:
            raise TaskFailure(
                f"{POLICY_FILE} is missing",
                f"`{POLICY_FILE}` is missing on the default branch ({head.branch}), so nothing was run. "
                "Add it (see docs/repository.md), merge, and reply in this thread.",
            )
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise TaskFailure(
                f"{POLICY_FILE} is not UTF-8",
                f"`{POLICY_FILE}` on the default branch is not UTF-8 text (byte {error.start}), so nothing was run.",
            ) from None

    async def image(
        self,
        mirror: Mirror,
        head: Head,
        repo_id: str,
        *,
        repo: RepoConfig,
        server: ServerConfig,
        ca_pem: str,
        watch: Stopwatch,
    ) -> ImageRef:
        """The repository's image with our overlay, built or found."""
        with watch.stage("image"), TemporaryDirectory(prefix="context-", dir=self.state) as folder:
            context = Path(folder) / "container"
            if not await mirror.export_tree(head.commit, CONTAINER_FOLDER, context):
                raise TaskFailure(
                    f"{CONTAINER_FOLDER} is missing",
                    f"`{CONTAINER_FOLDER}/Dockerfile` is missing on the default branch ({head.branch}), "
                    "so nothing was run. Add it (see docs/repository.md), merge, and reply in this thread.",
                )
            return await ensure_image(
                self.podman,
                context,
                overlay=Overlay(ca_pem.encode(), _git_config(repo)),
                installation=self.installation,
                repo=repo_id,
                base_image=server.sandbox.base_image,
                network=server.sandbox.build_network,
            )

    async def workspace(self, mirror: Mirror, head: Head, target: Path, url: str, watch: Stopwatch) -> None:
        """A full copy for a new conversation; a used one is left alone."""
        with watch.stage("workspace"):
            if not await asyncio.to_thread(target.exists, follow_symlinks=False):
                await create_workspace(mirror, head, target, url)

    async def agent(self, version: str, watch: Stopwatch) -> Path:
        """The agent's program."""
        with watch.stage("agent"):
            return await ensure_agent(self.cache / "agents", version)

    async def inbox(
        self, folders: ConversationFolders, attachments: tuple[BlobRef, ...], watch: Stopwatch
    ) -> tuple[str, ...]:
        """Attachments from the object store into `/inbox`; their names there.

        Raises:
            TaskFailure: one of them is gone.
        """
        with watch.stage("inbox"):
            await folders.make_ready(self.podman)
            files = []
            for ref in attachments:
                try:
                    data = await self.bus.get_blob(ref)
                except LookupError as error:
                    raise TaskFailure(
                        f"attachment: {error}",
                        f"An attachment could not be read ({error}). Nothing was run. Please send it again.",
                    ) from None
                files.append(InboxFile(ref.name, data, ref.media_type))
            entries = await asyncio.to_thread(fill_inbox, folders.inbox, files)
            return tuple(entry.file for entry in entries)


def _git_config(repo: RepoConfig) -> str:
    variables = {}
    if repo.git.push_credential is not None:
        scheme, _, rest = repo.git.url.partition("://")
        variables[f"{scheme}://{rest.partition('/')[0]}"] = (repo.git.username, repo.git.push_credential)
    return git_config(credential_variables=variables, user_name="Airut", user_email=repo.address)


@asynccontextmanager
async def beside[T](work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `work` while the block goes on; it is cancelled when the block fails."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield task
    except BaseException:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
