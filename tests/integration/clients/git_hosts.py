"""Two git hosts: one with a repository that has large files and submodules, one with a submodule of it; and a store."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme

from airut_egress.testing.origin import Answer, Origin
from airut_sandbox.testing.git_server import GitServer, Upstream, run_git
from airut_sandbox.testing.https_server import Authority, HttpsServer
from airut_sandbox.testing.lfs_server import LfsServer, oid_of, pointer

GIT, OTHER, STORE, UNKNOWN = (f"{name}.example.test" for name in ("git", "other", "store", "unknown"))
#: What the sandbox must never see.
GIT_SECRETS: Final = {
    "GIT_TOKEN": "ghp_realGitToken0123456789abcdefREAL0001",
    "THEME_TOKEN": "realThemeTokenWithoutPrefixREAL000000009",
}
LARGE: Final = os.urandom(4 * 1024 * 1024)
#: The store has this one, for everybody who knows its URL.
STORED: Final = os.urandom(100_000)
#: Said to be kept by a host that is not allowed.
AWAY: Final = b"away"
SUBMODULES: Final = {
    "part": f"https://{GIT}/part.git",
    "beside": "../part.git",
    "by-ssh": f"git@{GIT}:part.git",
    "theme": f"https://{OTHER}/part.git",
    "private": f"https://{GIT}/private.git",
    "unknown": f"https://{UNKNOWN}/part.git",
}


@dataclass
class GitHosts:
    """What listens, and where."""

    root: Path
    """The repositories of both hosts."""
    git: GitServer
    other: GitServer
    lfs: LfsServer
    store: Origin
    connect_to: dict[str, str]
    ca_file: Path


@asynccontextmanager
async def open_git_hosts(folder: Path) -> AsyncIterator[GitHosts]:
    """Serve while the context is open."""
    ca, root = trustme.CA(), folder / "served"
    root.mkdir()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Origin((STORE,), ca).running())
        store.respond = lambda seen: Answer(body=STORED) if "?signature=" in seen.target else Answer(403)
        authority = Authority(ca, store.write_ca(folder / "ca.pem"))
        git, other = (GitServer(root, authority, token=token) for token in GIT_SECRETS.values())
        lfs = LfsServer(git, f"https://{GIT}", {oid_of(LARGE): LARGE})
        lfs.elsewhere = {
            oid_of(STORED): f"https://{STORE}/demo/object?signature=of-the-host",
            oid_of(AWAY): f"https://{UNKNOWN}/object",
        }
        await asyncio.to_thread(_make_repositories, folder, git)
        connect_to = {STORE: store.tls_address}
        for name, handle in ((GIT, lfs.handle), (OTHER, other.handle)):
            server = HttpsServer(authority.server_context(name), handle)
            stack.callback(server.stop)
            connect_to[name] = f"127.0.0.1:{server.port}"
        yield GitHosts(root, git, other, lfs, store, connect_to, authority.file)


def _make_repositories(folder: Path, git: GitServer) -> None:
    part = _make_repository("part", folder, git).commit({"part.txt": "from the part\n"})
    _make_repository("private", folder, git).commit({"part.txt": "private\n"})
    demo = _make_repository("demo", folder, git)
    for name in SUBMODULES:
        (demo.tree / name).mkdir()
        run_git("update-index", "--add", "--cacheinfo", f"160000,{part},{name}", cwd=demo.tree)
    sections = (f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n' for name, url in SUBMODULES.items())
    demo.commit(
        {
            ".gitmodules": "".join(sections),
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "large.bin": pointer(LARGE),
            "stored.bin": pointer(STORED),
        }
    )
    run_git("checkout", "-q", "-b", "away", cwd=demo.tree)
    demo.commit({"away.bin": pointer(AWAY)})


def _make_repository(name: str, folder: Path, git: GitServer) -> Upstream:
    bare, tree = git.root / f"{name}.git", folder / name
    run_git("init", "-q", "--bare", "-b", "main", str(bare), cwd=folder)
    run_git("config", "http.receivepack", "true", cwd=bare)
    run_git("init", "-q", "-b", "main", str(tree), cwd=folder)
    return Upstream(tree, bare, git)
