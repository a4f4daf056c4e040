"""Servers on loopback for the tests of this package."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from airut_sandbox.testing.containers import base_image, bench, podman
from airut_sandbox.testing.git_server import GitServer, Upstream, run_git
from airut_sandbox.testing.https_server import Authority, HttpsServer
from airut_sandbox.testing.npm_registry import NpmRegistry


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(file)
    return Authority(ca, file)


@pytest.fixture
def git_server(tmp_path: Path, authority: Authority) -> Iterator[GitServer]:
    """A git server without repositories; `upstream` has one."""
    root = tmp_path / "served"
    root.mkdir()
    git = GitServer(root, authority)
    server = HttpsServer(authority.server_context("localhost", "git.demo.example"), git.handle)
    git.port = server.port
    yield git
    if git.hang is not None:
        git.hang.set()
    server.stop()


@pytest.fixture
def upstream(git_server: GitServer, tmp_path: Path) -> Upstream:
    """`demo.git` with one commit on `main`."""
    return make_upstream(git_server, tmp_path, "sha1")


@pytest.fixture
def sha256_upstream(git_server: GitServer, tmp_path: Path) -> Upstream:
    """The same in the newer object format."""
    return make_upstream(git_server, tmp_path, "sha256")


def make_upstream(git_server: GitServer, folder: Path, object_format: str) -> Upstream:
    bare, tree = git_server.root / "demo.git", folder / "author"
    options = ("--quiet", "--initial-branch=main", f"--object-format={object_format}")
    run_git("init", "--bare", *options, str(bare), cwd=folder)
    run_git("init", *options, str(tree), cwd=folder)
    made = Upstream(tree, bare, git_server)
    made.commit({"README.md": "hello\n"}, message="first")
    return made


@pytest.fixture
def npm_registry(authority: Authority) -> Iterator[NpmRegistry]:
    registry = NpmRegistry()
    server = HttpsServer(authority.server_context("localhost"), registry.handle)
    registry.port = server.port
    yield registry
    server.stop()


__all__ = ["base_image", "bench", "podman"]  # fixtures for tests that start containers
