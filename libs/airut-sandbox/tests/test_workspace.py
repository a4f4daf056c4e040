"""Field-notes row 40 and architecture §5: a workspace of its own, made once by the host."""

import asyncio
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

import airut_sandbox.workspace as workspace_module
from airut_sandbox.mirror import Head, Mirror, MirrorError
from airut_sandbox.testing.git_server import GIT_ENVIRONMENT, Upstream, run_git
from airut_sandbox.testing.https_server import Authority
from airut_sandbox.workspace import WorkspaceExists, create_workspace

REMOTE = "https://git.demo.example/demo.git"


@pytest.fixture
def mirror(upstream: Upstream, tmp_path: Path, authority: Authority) -> Mirror:
    return Mirror(tmp_path / "mirrors" / "demo.git", upstream.server.url(), authority.file)


def inodes(folder: Path) -> set[tuple[int, int]]:
    found = (path.lstat() for path in folder.rglob("*"))
    return {(status.st_dev, status.st_ino) for status in found if stat.S_ISREG(status.st_mode)}


async def test_a_complete_clone_with_the_real_remote(
    mirror: Mirror, upstream: Upstream, tmp_path: Path
) -> None:
    run_git("tag", "-a", "v1", "-m", "one", cwd=upstream.tree)
    run_git("branch", "feature/x", cwd=upstream.tree)
    run_git("push", "--quiet", "--tags", str(upstream.bare), cwd=upstream.tree)
    commit = upstream.commit({"sub/a.txt": "content"})
    head = await mirror.fetch("x-access-token", None)
    target = tmp_path / "workspace"
    await create_workspace(mirror, head, target, REMOTE)
    assert (target / "sub" / "a.txt").read_text() == "content"
    assert run_git("rev-parse", "HEAD", cwd=target).strip() == commit
    assert run_git("branch", "--show-current", cwd=target).strip() == "main"
    assert run_git("status", "--porcelain", cwd=target) == ""
    assert run_git("remote", "-v", cwd=target).split() == [
        "origin",
        REMOTE,
        "(fetch)",
        "origin",
        REMOTE,
        "(push)",
    ]
    assert run_git("rev-parse", "--abbrev-ref", "main@{upstream}", cwd=target).strip() == "origin/main"
    refs = run_git("for-each-ref", "--format=%(refname)", cwd=target).split()
    assert {"refs/remotes/origin/feature/x", "refs/tags/v1", "refs/remotes/origin/HEAD"} <= set(refs)
    run_git("fsck", "--full", cwd=target)


async def test_a_repository_whose_objects_are_named_by_sha256(
    sha256_upstream: Upstream, tmp_path: Path, authority: Authority
) -> None:
    mirror = Mirror(tmp_path / "mirrors" / "demo.git", sha256_upstream.server.url(), authority.file)
    await mirror.fetch("x-access-token", None)
    commit = sha256_upstream.commit({".airut/policy": "domains: []\n", "a.txt": "content"})
    head = await mirror.fetch("x-access-token", None)
    assert (head.commit, len(commit)) == (commit, 64)
    assert await mirror.read_file(commit, ".airut/policy") == b"domains: []\n"
    assert await mirror.export_tree(commit, ".airut", tmp_path / "exported")
    target = tmp_path / "workspace"
    await create_workspace(mirror, head, target, REMOTE)
    assert (target / "a.txt").read_text() == "content"
    assert run_git("rev-parse", "HEAD", cwd=target).strip() == commit
    assert run_git("status", "--porcelain", cwd=target) == ""
    run_git("fsck", "--full", cwd=target)


async def test_row_40_no_inode_is_shared_and_nothing_points_back(
    mirror: Mirror, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.commit({f"{number}.txt": str(number) for number in range(150)})  # a pack, not only loose objects
    head = await mirror.fetch("x-access-token", None)
    target = tmp_path / "workspace"
    await create_workspace(mirror, head, target, REMOTE)
    shared = inodes(mirror.path) & inodes(target)
    assert not shared
    assert len(inodes(target)) > 150
    assert not (target / ".git" / "objects" / "info" / "alternates").exists()
    assert not (target / ".git" / "hooks").exists()
    for path in target.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path
    mirror.path.rename(tmp_path / "elsewhere")
    run_git("fsck", "--full", cwd=target)


async def test_row_40_a_used_workspace_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    head = await mirror.fetch("x-access-token", None)
    target = tmp_path / "workspace"
    target.symlink_to("nowhere")
    with pytest.raises(WorkspaceExists):
        await create_workspace(mirror, head, target, REMOTE)
    target.unlink()
    await create_workspace(mirror, head, target, REMOTE)
    before = inodes(target)
    with pytest.raises(WorkspaceExists):
        await create_workspace(mirror, head, target, REMOTE)
    assert inodes(target) == before


async def test_row_40_filters_and_hooks_of_the_repository_do_not_run(
    mirror: Mirror, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness, home = tmp_path / "witness", tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[filter "evil"]\n\tsmudge = touch {witness}\n[init]\n\ttemplateDir = {home}\n'
    )
    (home / "hooks").mkdir()
    (home / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {witness}\n")
    (home / "hooks" / "post-checkout").chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")  # an installed git-lfs would come first
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(home))
    upstream.commit({".gitattributes": "* filter=evil\n", "a": "1", ".githooks/post-checkout": "touch x"})
    head = await mirror.fetch("x-access-token", None)
    await create_workspace(mirror, head, tmp_path / "workspace", REMOTE)
    assert not witness.exists()
    assert not (tmp_path / "workspace" / ".git" / "hooks").exists()


async def test_row_67_a_branch_with_slashes(mirror: Mirror, upstream: Upstream, tmp_path: Path) -> None:
    run_git("checkout", "--quiet", "-b", "release/main", cwd=upstream.tree)
    upstream.commit({"a": "1"})
    run_git("symbolic-ref", "HEAD", "refs/heads/release/main", cwd=upstream.bare)
    head = await mirror.fetch("x-access-token", None)
    await create_workspace(mirror, head, tmp_path / "workspace", REMOTE)
    assert run_git("branch", "--show-current", cwd=tmp_path / "workspace").strip() == "release/main"


async def test_the_commit_announced_is_the_one_checked_out(
    mirror: Mirror, upstream: Upstream, tmp_path: Path
) -> None:
    head = await mirror.fetch("x-access-token", None)
    upstream.commit({"later": "1"})
    await mirror.fetch("x-access-token", None)
    await create_workspace(mirror, head, tmp_path / "workspace", REMOTE)
    assert run_git("rev-parse", "HEAD", cwd=tmp_path / "workspace").strip() == head.commit
    assert not (tmp_path / "workspace" / "later").exists()


async def test_links_in_the_repository_stay_links(mirror: Mirror, upstream: Upstream, tmp_path: Path) -> None:
    (upstream.tree / "link").symlink_to("/etc/passwd")
    upstream.commit_all()
    head = await mirror.fetch("x-access-token", None)
    await create_workspace(mirror, head, tmp_path / "workspace", REMOTE)
    assert (tmp_path / "workspace" / "link").readlink() == Path("/etc/passwd")


async def test_a_failure_leaves_nothing_behind(mirror: Mirror, tmp_path: Path) -> None:
    await mirror.fetch("x-access-token", None)
    folder = tmp_path / "conversations"
    folder.mkdir()
    with pytest.raises(MirrorError):
        await create_workspace(mirror, Head("main", "0" * 40), folder / "workspace", REMOTE)
    with pytest.raises(MirrorError) as caught:
        await create_workspace(
            mirror, Head("main", "0" * 40), folder / "workspace", REMOTE, timeout_seconds=0.001
        )
    assert caught.value.problem == "timed-out"
    assert list(folder.iterdir()) == []


async def test_large_files_stay_pointers_and_no_filter_of_the_host_runs(
    mirror: Mirror, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 3\n"
    upstream.commit({".gitattributes": "*.bin filter=lfs -text\n", "large.bin": pointer})
    home, ran = tmp_path / "home", tmp_path / "ran"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[filter "lfs"]\n\tsmudge = "touch {ran}; cat"\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")  # an installed git-lfs would come first
    plain = ["git", "clone", "--quiet", str(upstream.bare), str(tmp_path / "plain")]
    await asyncio.to_thread(subprocess.run, plain, check=True, timeout=30)
    assert ran.exists(), "git as it comes runs the filter"
    ran.unlink()
    await create_workspace(mirror, await mirror.fetch("x-access-token", None), tmp_path / "workspace", REMOTE)
    assert not ran.exists()
    assert (tmp_path / "workspace" / "large.bin").read_text() == pointer


async def test_how_far_the_copy_of_a_large_repository_is_is_told(
    mirror: Mirror, upstream: Upstream, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(workspace_module, "_TELL_SECONDS", 0.001)
    upstream.commit({"large": os.urandom(30_000_000)})
    head = await mirror.fetch("x-access-token", None)
    told: list[str] = []
    first, run = asyncio.Event(), workspace_module.run

    def tell(line: str) -> None:
        told.append(line)
        first.set()

    async def copies_slowly(argv, **options):
        await asyncio.wait_for(first.wait(), 30)
        return await run(argv, **options)

    monkeypatch.setattr(workspace_module, "run", copies_slowly)
    await create_workspace(mirror, head, tmp_path / "workspace", REMOTE, on_progress=tell)
    assert all(re.fullmatch(r"copying objects: \d+ % \(29 MiB\)", line) for line in told), told


#: Name, path and URL of a submodule, MARK a file that a program would make, HOST a repository of the host's; and what
#: becomes of the repository that has it.
SUBMODULES = {
    "a program": ("part", "part", "ext::touch MARK", "left alone"),
    "a folder of the host": ("part", "part", "file://HOST", "left alone"),
    "a path of the host": ("part", "part", "HOST", "left alone"),
    "a path that leads out": ("part", "part", "../../../..HOST", "left alone"),
    "another server": ("part", "part", "https://localhost:1/part.git", "left alone"),
    "an option": ("part", "part", "--upload-pack=touch MARK", "refused"),
    "a short option": ("part", "part", "-utouch MARK", "refused"),
    "a line break, for the credential of another host": (
        "part",
        "part",
        '"https://localhost/%0ahost=a.example/"',
        "refused",
    ),
    "a path that is an option": ("part", "-part", "https://localhost/part.git", "refused"),
    "a name that leads out": ("../../part", "part", "https://localhost/part.git", "refused"),
}


@pytest.mark.parametrize("what", SUBMODULES)
async def test_row_40_a_submodule_runs_and_reads_nothing_on_the_host(
    mirror: Mirror, upstream: Upstream, tmp_path: Path, what: str
) -> None:
    name, path, url, outcome = SUBMODULES[what]
    mark, host = tmp_path / "mark", tmp_path / "of-the-host"
    url = url.replace("MARK", str(mark)).replace("HOST", str(host))
    run_git("init", "--quiet", str(host), cwd=tmp_path)
    run_git("commit", "--quiet", "--allow-empty", "-m", "of the host", cwd=host)
    commit = run_git("rev-parse", "HEAD", cwd=host).strip()
    (upstream.tree / path).mkdir()
    run_git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}", cwd=upstream.tree)
    upstream.commit({".gitmodules": f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n'})
    if what in {"a program", "a folder of the host"}:
        await asyncio.to_thread(fall_for_submodules, upstream.bare, tmp_path / "plain")
        assert mark.exists() or (tmp_path / "plain" / "part" / ".git").exists(), "the trap does not work"
        mark.unlink(missing_ok=True)
    target = tmp_path / "workspace"
    if outcome == "refused":
        with pytest.raises(MirrorError, match="it sent objects that fail git's checks"):
            await mirror.fetch("x-access-token", None)
    else:
        await create_workspace(mirror, await mirror.fetch("x-access-token", None), target, REMOTE)
        assert list((target / path).iterdir()) == []
        assert "submodule" not in (target / ".git" / "config").read_text()
        assert not (target / ".git" / "modules").exists()
    assert not mark.exists()
    assert {request.partition("?")[0].split("/")[1] for request in upstream.server.requests} == {"demo.git"}


def fall_for_submodules(bare: Path, target: Path) -> None:
    """A clone that takes along what the repository names, by every protocol."""
    subprocess.run(
        ["git", "clone", "--quiet", "--recurse-submodules", str(bare), str(target)],
        env=GIT_ENVIRONMENT | {"GIT_ALLOW_PROTOCOL": "ext:file"},
        capture_output=True,
        check=False,
        timeout=30,
    )


async def test_unfinished_files_of_a_fetch_that_come_and_go_are_no_trouble(
    mirror: Mirror, upstream: Upstream, tmp_path: Path
) -> None:
    head = await mirror.fetch("x-access-token", None)
    packs = mirror.path / "objects" / "pack"
    over = asyncio.Event()

    def come_and_go() -> None:
        while not over.is_set():
            drafts = [packs / f"tmp_pack_{number}" for number in range(200)]
            for draft in drafts:
                draft.touch()
            for draft in drafts:
                draft.unlink()

    fetching = asyncio.create_task(asyncio.to_thread(come_and_go))
    try:
        for number in range(10):
            await create_workspace(mirror, head, tmp_path / f"workspace-{number}", REMOTE)
    finally:
        over.set()
        await fetching
    assert not list((tmp_path / "workspace-0").glob(".git/objects/pack/tmp_*"))
