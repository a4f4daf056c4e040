"""A bare mirror of one repository: the only directory in which the host keeps using git."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import structlog

from airut_common.secrets import Secret
from airut_sandbox.connect_to import open_tunnel
from airut_sandbox.git import Git, GitFailed, GitTimedOut, basic_authorization
from airut_sandbox.git_progress import OnProgress
from airut_sandbox.locks import file_lock
from airut_sandbox.mirror_errors import MirrorError, MirrorProblem, explain
from airut_sandbox.remote import Clock, Remote, parse_ls_remote
from airut_sandbox.tree import TreeEntry, TreeLimits, check_tree, parse_ls_tree, split_batch, write_tree
from airut_sandbox.trust import trust_config

__all__ = ["MAX_FILE_BYTES", "Head", "Mirror", "MirrorError", "MirrorProblem", "TreeLimits"]

_log = structlog.get_logger()

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REFSPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_LOCAL_SECONDS = 60
_TIDY_SECONDS = 45
"""Shorter than a reader waits: no task fails because its mirror is being repacked."""
MANY_PACKS = 50
MANY_LOOSE_OBJECTS = 6700
"""From so many on git itself would repack (`gc.autoPackLimit`, `gc.auto`); here it does so only when told to."""
MAX_FILE_BYTES = 1024 * 1024
_DEFAULT_LIMITS = TreeLimits()


@dataclass(frozen=True)
class Head:
    """The remote's default branch (`release/main` keeps its slash) and the commit it points to."""

    branch: str
    commit: str


class Mirror:
    """One repository's mirror at `path`.

    `connect_to` maps host names to an `address:port` to dial instead; TLS still proves the name. `ca_file` holds
    authorities to trust besides the system's. Any number of mirrors, also of other processes, may share
    one path.
    """

    def __init__(
        self,
        path: Path,
        url: str,
        ca_file: Path | None = None,
        *,
        connect_to: Mapping[str, str] | None = None,
        allowed_protocols: frozenset[str] = frozenset({"https"}),
    ) -> None:
        """Raises ValueError when the URL is of another protocol or carries credentials."""
        parts = urlsplit(url)
        if parts.scheme not in allowed_protocols:
            raise ValueError(f"git URL: only {', '.join(sorted(allowed_protocols))} is accepted")
        if parts.username is not None or parts.password is not None:
            raise ValueError("git URL: credentials do not belong in it; use username and token_secret")
        self.path = path
        self._url = url
        self._where = parts.hostname or parts.path
        self._ca_file = ca_file
        self._protocols = tuple(sorted(allowed_protocols))
        self._authority, self._address = _dial(parts, connect_to or {})

    async def fetch(
        self,
        username: str,
        token: Secret | None,
        *,
        timeout_seconds: float = 300,
        on_progress: OnProgress | None = None,
    ) -> Head:
        """Bring the mirror up to date; the remote's HEAD is read anew each time. One fetch runs at a time.
        `on_progress` is told how far a long one is.

        Raises:
            MirrorError: the reason names the host, never the URL or the token.
        """
        clock = Clock(timeout_seconds)
        try:
            async with (
                file_lock(self._lock("fetch"), timeout_seconds=timeout_seconds),
                self._remote_git(username, token, on_progress) as git,
            ):
                return await self._update(git, clock)
        except GitFailed as error:
            raise explain(self._where, error.stderr) from error
        except (GitTimedOut, TimeoutError) as error:
            reason = f"{self._where}: no answer within {timeout_seconds:g} seconds"
            raise MirrorError("timed-out", reason) from error

    async def _update(self, git: Git, clock: Clock) -> Head:
        remote = await self._ask_remote(git, clock)
        if not await asyncio.to_thread(self.path.exists):
            await self._create(git, clock, remote)
            return await self._head(git, remote)
        try:
            if dict(remote.refs) != await self._local_refs(git):
                await self._fetch_objects(git, self.path, clock)
            return await self._head(git, remote)
        except GitFailed as error:
            # The remote has just answered, so this is most likely about our copy: a lock file that a killed git
            # left behind, or a file cut short by a full disk.
            _log.warning("mirror is made anew", mirror=self.path.name, reason=str(error))
            async with self.exclusive(clock.left()):
                await self._create(git, clock, remote)
            return await self._head(git, remote)

    async def _ask_remote(self, git: Git, clock: Clock) -> Remote:
        output = await git.run(
            "ls-remote", "--quiet", "--symref", "--", self._url, timeout_seconds=clock.left(), cwd=Path("/")
        )
        remote = parse_ls_remote(output.decode("utf-8", "surrogateescape"))
        if not remote.refs:
            raise MirrorError("empty", f"{self._where}: the repository is empty; it needs a first commit")
        if f"refs/heads/{remote.branch}" not in remote.refs:
            named = (
                f"its default branch {remote.branch!r} does not exist" if remote.branch else "it names none"
            )
            raise MirrorError("empty", f"{self._where}: the repository has no default branch ({named})")
        return remote

    async def _create(self, git: Git, clock: Clock, remote: Remote) -> None:
        """A fresh mirror beside the old one, which it then replaces."""
        fresh = self.path.with_name(f"{self.path.name}.fresh")
        old = self.path.with_name(f"{self.path.name}.old")
        for leftover in (fresh, old):
            await asyncio.to_thread(shutil.rmtree, leftover, ignore_errors=True)
        await git.run(
            *(
                "init",
                "--quiet",
                "--bare",
                "--template=",
                f"--object-format={remote.object_format}",
                str(fresh),
            ),
            timeout_seconds=clock.left(),
        )
        await self._fetch_objects(git, fresh, clock)
        if self.path.exists():
            self.path.rename(old)
        fresh.rename(self.path)
        await asyncio.to_thread(shutil.rmtree, old, ignore_errors=True)

    async def _fetch_objects(self, git: Git, path: Path, clock: Clock) -> None:
        arguments = (
            "fetch",
            "--quiet" if git.on_progress is None else "--progress",
            "--prune",
            "--no-auto-maintenance",
            "--no-write-fetch-head",
            "--no-tags",
        )
        await git.run(
            f"--git-dir={path}",
            *arguments,
            "--",
            self._url,
            *_REFSPECS,
            timeout_seconds=clock.left(),
            cwd=path,
        )

    async def _local_refs(self, git: Git) -> dict[str, str]:
        output = await self._local(git, "for-each-ref", "--format=%(objectname) %(refname)")
        lines = output.decode("utf-8", "surrogateescape").splitlines()
        return {ref: name for name, _, ref in (line.partition(" ") for line in lines)}

    async def _head(self, git: Git, remote: Remote) -> Head:
        """The commit the default branch has here: what was fetched, even if the remote moved on meanwhile."""
        ref = f"refs/heads/{remote.branch}"
        await self._local(git, "symbolic-ref", "HEAD", ref)
        output = await self._local(
            git, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        )
        return Head(remote.branch, output.decode().strip())

    async def read_file(self, commit: str, path: str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """A regular file's bytes; None when the commit has no such path.

        Raises:
            MirrorError: `unusable-tree`: it is a link, a folder or larger than `max_bytes`.
        """
        async with self.reading():
            entries = await self._list(commit, path, recurse=False)
            if not entries:
                return None
            (entry,) = entries
            if not entry.is_file:
                raise MirrorError("unusable-tree", f"{path}: {entry.kind}, not a file")
            if entry.size_bytes > max_bytes:
                raise MirrorError(
                    "unusable-tree", f"{path}: {entry.size_bytes} bytes, larger than {max_bytes}"
                )
            return await self._local(Git(), "cat-file", "blob", entry.object_id)

    async def export_tree(
        self, commit: str, folder: str, target: Path, *, limits: TreeLimits = _DEFAULT_LIMITS
    ) -> bool:
        """Write `folder` as it is in `commit` to `target`, which must not exist. False when there is no such folder.

        Raises:
            MirrorError: `unusable-tree`: a link that leads out, a submodule, a hostile name, or over the limits.
        """
        async with self.reading():
            found = await self._list(commit, folder, recurse=False)
            if not found:
                return False
            if found[0].kind != "a folder":
                raise MirrorError("unusable-tree", f"{folder}: {found[0].kind}, not a folder")
            entries = await self._list(commit, f"{folder}/", recurse=True)
            entries = check_tree(entries, folder, limits)
            wanted = b"".join(f"{entry.object_id}\n".encode() for entry in entries)
            output = await self._local(Git(), "cat-file", "--batch", stdin=wanted)
        await asyncio.to_thread(write_tree, target, entries, split_batch(output, entries))
        return True

    async def _list(self, commit: str, path: str, *, recurse: bool) -> list[TreeEntry]:
        if not _COMMIT.fullmatch(commit):
            raise ValueError("a full commit id is needed")
        options = ("-r",) if recurse else ()
        output = await self._local(Git(), "ls-tree", "-z", "-l", *options, commit, "--", path)
        return parse_ls_tree(output)

    async def tidy(self, *, timeout_seconds: float = _TIDY_SECONDS) -> None:
        """Where fetches have left many pieces, repack, and drop what no ref has reached for two weeks. Workspaces wait
        for it.

        Raises:
            MirrorError: it failed or took too long; the mirror is still good.
        """
        try:
            counted = await self._local(Git(), "count-objects", "-v")
            found = dict(line.split(": ", 1) for line in counted.decode().splitlines())
            if int(found["count"]) < MANY_LOOSE_OBJECTS and int(found["packs"]) < MANY_PACKS:
                return
            async with self.exclusive(timeout_seconds):
                await Git().run(
                    *(f"--git-dir={self.path}", "gc", "--quiet", "--prune=2.weeks.ago"),
                    timeout_seconds=timeout_seconds,
                    cwd=self.path,
                )
        except (GitFailed, GitTimedOut, TimeoutError) as error:
            raise MirrorError("broken", f"{self.path.name}: could not be tidied ({error})") from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """While this is held, no object disappears. Raises MirrorError where git or the wait fails inside."""
        try:
            async with file_lock(self._lock("objects"), timeout_seconds=_LOCAL_SECONDS, shared=True):
                yield
        except GitFailed as error:
            raise MirrorError("broken", f"{self._where}: the local copy cannot be read ({error})") from error
        except (GitTimedOut, TimeoutError) as error:
            raise MirrorError("timed-out", f"{self._where}: the local copy was busy for too long") from error

    def exclusive(self, timeout_seconds: float) -> AbstractAsyncContextManager[None]:
        """Nobody else reads or replaces objects while this is held."""
        return file_lock(self._lock("objects"), timeout_seconds=timeout_seconds)

    def _lock(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{name}.lock")

    async def _local(self, git: Git, *args: str, stdin: bytes | None = None) -> bytes:
        return await git.run(
            f"--git-dir={self.path}", *args, timeout_seconds=_LOCAL_SECONDS, cwd=self.path, stdin=stdin
        )

    @asynccontextmanager
    async def _remote_git(
        self, username: str, token: Secret | None, on_progress: OnProgress | None
    ) -> AsyncIterator[Git]:
        try:
            bundle = self.path.with_name(f"{self.path.name}.ca.pem")
            config = list(await asyncio.to_thread(trust_config, self._ca_file, bundle))
        except OSError as error:
            reason = f"{self._where}: the file with its authorities cannot be used ({error.strerror})"
            raise MirrorError("broken", reason) from error
        hidden: tuple[str, ...] = ()
        if token is not None:
            header = basic_authorization(username, token)
            hidden = (token.reveal(), header)
            config.append((f"http.{self._url}.extraHeader", f"Authorization: {header}"))
        if self._address is None:
            yield Git(self._protocols, tuple(config), hidden, on_progress)
            return
        async with open_tunnel(self._authority, self._address) as proxy:
            yield Git(self._protocols, (*config, ("http.proxy", proxy)), hidden, on_progress)


def _dial(parts: SplitResult, connect_to: Mapping[str, str]) -> tuple[str, str | None]:
    host = parts.hostname or ""
    return f"{host}:{parts.port or 443}", connect_to.get(host)
