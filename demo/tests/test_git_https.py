"""The git host, used by the real git."""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from airut_demo.world.git_https import GitHost
from airut_demo.world.https import serve_https
from airut_demo.world.tls import WorldCa

TOKEN = "ghp_the-real-token"
FILES = {"README.md": "# A greeting\n", ".airut/network-allowlist.yaml": "domains: []\n"}

Git = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Host:
    git: GitHost
    address: str
    ca: WorldCa
    bare: Path

    def url(self, token: str = "") -> str:
        return f"https://{f'ada:{token}@' if token else ''}{self.address}/demo.git"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    ca = WorldCa(tmp_path)
    git = GitHost(tmp_path / "git", TOKEN)
    git.root.mkdir()
    bare = await asyncio.to_thread(git.create, "demo", FILES)
    async with serve_https(git.application(), ca.issue("127.0.0.1")) as address:
        yield Host(git, address, ca, bare)


async def _git(host: Host, *arguments: str, cwd: Path, check: bool = True) -> str:
    env = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSL_CAINFO": str(host.ca.file),
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@x.example",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@x.example",
    }
    done = await asyncio.to_thread(
        subprocess.run, ["git", *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=60
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done.stdout if done.returncode == 0 else f"failed: {done.stderr}"


async def _clone(host: Host, tmp_path: Path) -> Path:
    await _git(host, "clone", "--quiet", host.url(), "work", cwd=tmp_path)
    return tmp_path / "work"


async def test_anybody_clones_the_default_branch(host: Host, tmp_path: Path) -> None:
    work = await _clone(host, tmp_path)
    assert (work / "README.md").read_text() == FILES["README.md"]
    assert (work / ".airut/network-allowlist.yaml").exists()
    assert (await _git(host, "branch", "--show-current", cwd=work)).strip() == "main"
    assert host.git.seen == set()


async def test_pushing_needs_the_token_and_leaves_its_digest_only(host: Host, tmp_path: Path) -> None:
    work = await _clone(host, tmp_path)
    await _git(host, "checkout", "--quiet", "-b", "topic", cwd=work)
    # Larger than one buffer, and not to be compressed: both directions are streamed.
    (work / "large.bin").write_bytes(os.urandom(3_000_000))
    await _git(host, "add", "--all", cwd=work)
    await _git(host, "commit", "--quiet", "--message", "large", cwd=work)
    for url in (host.url(), host.url("surrogate")):
        assert "failed" in await _git(host, "push", url, "topic", cwd=work, check=False)
    assert "topic" not in await _git(host, "branch", "--list", "topic", cwd=host.bare)
    host.git.seen.clear()
    await _git(host, "push", "--quiet", host.url(TOKEN), "topic", cwd=work)
    assert host.git.seen == {hashlib.sha256(TOKEN.encode()).hexdigest()}
    again = tmp_path / "again"
    await _git(host, "clone", "--quiet", "--branch", "topic", host.url(), str(again), cwd=tmp_path)
    assert (again / "large.bin").read_bytes() == (work / "large.bin").read_bytes()


@pytest.mark.parametrize(
    "path", ["/other.git/info/refs", "/demo.git/../../world-ca.pem", "/demo.git/config.lock"]
)
async def test_what_is_not_there_is_not_found(host: Host, path: str) -> None:
    async with httpx.AsyncClient(verify=host.ca.client_context(), trust_env=False) as client:
        answer = await client.get(f"https://{host.address}{path}", params={"service": "git-upload-pack"})
    assert answer.status_code in {400, 403, 404}


async def test_strangers_do_not_trust_the_world(host: Host) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await client.get(f"https://{host.address}/")
