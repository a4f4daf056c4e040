"""The mirror against git's own server over HTTPS. Field-notes rows 18, 40, 65, 67, 70, 73."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
import trustme

import airut_sandbox.mirror as mirror_module
from airut_common.secrets import Secret
from airut_sandbox.mirror import Mirror, MirrorError, TreeLimits
from airut_sandbox.testing.git_server import GitServer, Upstream, run_git
from airut_sandbox.testing.https_server import Authority, HttpsServer, answer

pytestmark = pytest.mark.integration


@pytest.fixture
def mirror(upstream: Upstream, tmp_path: Path, authority: Authority) -> Mirror:
    return Mirror(tmp_path / "mirrors" / "demo.git", upstream.server.url(), authority.file)


async def problem_of(mirror: Mirror, token: Secret | None = None, timeout_seconds: float = 20) -> MirrorError:
    with pytest.raises(MirrorError) as caught:
        await mirror.fetch("x-access-token", token, timeout_seconds=timeout_seconds)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_fetches_follows_and_prunes(mirror: Mirror, upstream: Upstream) -> None:
    head = await mirror.fetch("x-access-token", None)
    assert head.branch == "main"
    second = upstream.commit({"a.txt": "1"})
    assert (await mirror.fetch("x-access-token", None)).commit == second
    run_git("branch", "feature", cwd=upstream.tree)
    upstream.push()
    await mirror.fetch("x-access-token", None)
    assert "refs/heads/feature" in run_git("for-each-ref", cwd=mirror.path)
    run_git("branch", "-D", "feature", cwd=upstream.bare)
    await mirror.fetch("x-access-token", None)
    assert "refs/heads/feature" not in run_git("for-each-ref", cwd=mirror.path)


async def test_an_unchanged_remote_costs_one_question(mirror: Mirror, upstream: Upstream) -> None:
    await mirror.fetch("x-access-token", None)
    upstream.server.requests.clear()
    await mirror.fetch("x-access-token", None)
    assert len(upstream.server.requests) == 2  # capabilities, then ls-refs


async def test_a_rewritten_branch_is_followed(mirror: Mirror, upstream: Upstream) -> None:
    upstream.commit({"a": "1"})
    await mirror.fetch("x-access-token", None)
    run_git("reset", "--hard", "--quiet", "HEAD~1", cwd=upstream.tree)
    other = upstream.commit({"b": "2"})
    assert (await mirror.fetch("x-access-token", None)).commit == other


async def test_row_67_a_default_branch_with_slashes_and_a_renamed_one(
    mirror: Mirror, upstream: Upstream
) -> None:
    assert (await mirror.fetch("x-access-token", None)).branch == "main"
    run_git("branch", "-m", "main", "release/main", cwd=upstream.tree)
    commit = upstream.commit({"a": "1"})
    run_git("symbolic-ref", "HEAD", "refs/heads/release/main", cwd=upstream.bare)
    run_git("update-ref", "-d", "refs/heads/main", cwd=upstream.bare)
    head = await mirror.fetch("x-access-token", None)
    assert (head.branch, head.commit) == ("release/main", commit)
    assert await mirror.read_file(head.commit, "a") == b"1"
    # A branch whose name was a folder of branches before.
    run_git("branch", "-m", "release/main", "release", cwd=upstream.tree)
    run_git("symbolic-ref", "HEAD", "refs/heads/release", cwd=upstream.bare)
    run_git("update-ref", "-d", "refs/heads/release/main", cwd=upstream.bare)
    upstream.push()
    assert (await mirror.fetch("x-access-token", None)).branch == "release"


async def test_the_token_is_presented_and_stays_off_disk(mirror: Mirror, upstream: Upstream) -> None:
    upstream.server.token = "s3cret-token-value"
    await mirror.fetch("x-access-token", Secret("s3cret-token-value"))
    assert all(value.startswith("Basic ") for value in upstream.server.authorizations)
    for path in mirror.path.parent.rglob("*"):
        if path.is_file():
            assert b"s3cret-token-value" not in path.read_bytes(), path


async def test_a_wrong_or_missing_token_is_refused_and_not_shown(mirror: Mirror, upstream: Upstream) -> None:
    upstream.server.token = "right"
    for token in (None, Secret("wrong-token-value")):
        error = await problem_of(mirror, token)
        assert error.problem == "refused"
        assert str(error) == "localhost: it refused our credentials"


async def test_not_a_repository(upstream: Upstream, tmp_path: Path, authority: Authority) -> None:
    error = await problem_of(Mirror(tmp_path / "m", upstream.server.url("none.git"), authority.file))
    assert error.problem == "not-a-repository"


async def test_an_empty_repository(git_server: GitServer, tmp_path: Path, authority: Authority) -> None:
    run_git("init", "--quiet", "--bare", str(git_server.root / "empty.git"), cwd=tmp_path)
    error = await problem_of(Mirror(tmp_path / "m", git_server.url("empty.git"), authority.file))
    assert error.problem == "empty"


async def test_a_head_that_points_nowhere(mirror: Mirror, upstream: Upstream) -> None:
    run_git("symbolic-ref", "HEAD", "refs/heads/gone", cwd=upstream.bare)
    error = await problem_of(mirror)
    assert error.problem == "empty"
    assert "no default branch" in str(error)


async def test_nobody_listens(tmp_path: Path, authority: Authority, unused_tcp_port: int) -> None:
    error = await problem_of(
        Mirror(tmp_path / "m", f"https://localhost:{unused_tcp_port}/x.git", authority.file)
    )
    assert error.problem == "unreachable"


@pytest.mark.parametrize("status", [403, 404, 410, 500, 503])
async def test_http_errors(mirror: Mirror, upstream: Upstream, status: int) -> None:
    upstream.server.status = status
    expected = {403: "refused", 404: "not-a-repository", 410: "not-a-repository"}.get(status, "unreachable")
    assert (await problem_of(mirror)).problem == expected


async def test_row_70_a_certificate_nobody_vouches_for(upstream: Upstream, tmp_path: Path) -> None:
    error = await problem_of(Mirror(tmp_path / "m", upstream.server.url()))
    assert error.problem == "unreachable"
    assert "certificate" in str(error)


async def test_row_70_a_certificate_for_another_name(
    upstream: Upstream, tmp_path: Path, authority: Authority
) -> None:
    error = await problem_of(Mirror(tmp_path / "m", upstream.server.url(host="127.0.0.1"), authority.file))
    assert error.problem == "unreachable"
    assert "certificate" in str(error)


async def test_an_operators_authorities_come_beside_the_systems(
    upstream: Upstream, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    for ca_file in (None, other):
        mirror = Mirror(tmp_path / f"m-{ca_file is None}", upstream.server.url(), ca_file)
        assert (await mirror.fetch("x-access-token", None)).branch == "main"
    error = await problem_of(Mirror(tmp_path / "m", upstream.server.url(), tmp_path / "missing.pem"))
    assert "authorities" in str(error)


async def test_row_18_a_redirect_does_not_get_the_token(
    mirror: Mirror, upstream: Upstream, tmp_path: Path
) -> None:
    seen: list[str] = []

    def thief(request) -> None:
        seen.append(request.headers.get("authorization", ""))
        answer(request, 404)

    server = HttpsServer(upstream.server.authority.server_context("localhost"), thief)
    try:
        upstream.server.status = 302
        upstream.server.location = f"https://localhost:{server.port}"
        error = await problem_of(mirror, Secret("valuable"))
    finally:
        server.stop()
    assert seen == []
    assert "redirect" in str(error)


async def test_row_65_a_hanging_server_blocks_nobody_for_ever(mirror: Mirror, upstream: Upstream) -> None:
    upstream.server.hang = threading.Event()
    errors = await asyncio.gather(
        problem_of(mirror, timeout_seconds=1), problem_of(mirror, timeout_seconds=1)
    )
    assert {error.problem for error in errors} == {"timed-out"}
    upstream.server.hang.set()
    upstream.server.hang = None
    assert (await mirror.fetch("x-access-token", None)).branch == "main"


async def test_many_at_once_over_one_path(upstream: Upstream, tmp_path: Path, authority: Authority) -> None:
    mirrors = [
        Mirror(tmp_path / "mirrors" / "demo.git", upstream.server.url(), authority.file) for _ in range(6)
    ]
    heads = await asyncio.gather(*(mirror.fetch("x-access-token", None) for mirror in mirrors))
    assert len(set(heads)) == 1


async def test_row_65_leftovers_of_a_killed_git_are_overcome(mirror: Mirror, upstream: Upstream) -> None:
    await mirror.fetch("x-access-token", None)
    commit = upstream.commit({"a": "1"})
    (mirror.path / "refs" / "heads").mkdir(exist_ok=True, parents=True)
    (mirror.path / "refs" / "heads" / "main.lock").touch()
    (mirror.path / "HEAD.lock").touch()
    assert (await mirror.fetch("x-access-token", None)).commit == commit


async def test_a_damaged_mirror_is_made_anew(mirror: Mirror, upstream: Upstream) -> None:
    head = await mirror.fetch("x-access-token", None)
    for path in [*mirror.path.glob("objects/pack/*.pack"), *mirror.path.glob("objects/??/*")]:
        path.chmod(0o600)
        path.write_bytes(b"")
    upstream.commit({"a": "1"})
    head = await mirror.fetch("x-access-token", None)
    assert await mirror.read_file(head.commit, "a") == b"1"
    (mirror.path / "HEAD").unlink()
    assert (await mirror.fetch("x-access-token", None)) == head


async def test_row_40_hooks_and_configuration_of_the_user_do_not_run(
    mirror: Mirror, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    witness = tmp_path / "witness"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {witness}\n")
    evil.chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\n\tfsmonitor = {evil}\n\thooksPath = {tmp_path}\n[credential]\n\thelper = !{evil}\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_ASKPASS", str(evil))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.sshCommand={evil}'")
    (tmp_path / "reference-transaction").symlink_to(evil)
    await mirror.fetch("x-access-token", None)
    (mirror.path / "hooks").mkdir(exist_ok=True)
    (mirror.path / "hooks" / "reference-transaction").symlink_to(evil)
    upstream.commit({"a": "1"})
    await mirror.fetch("x-access-token", None)
    assert not witness.exists()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc",
        "ext::sh -c id",
        "http://git.demo.example/x",
        "ssh://git@host/x",
        "git@host:x",
        "/srv/x.git",
        "--upload-pack=id",
    ],
)
def test_row_40_only_https(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        Mirror(tmp_path / "m", url)


def test_credentials_in_the_url_are_refused_unshown(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        Mirror(tmp_path / "m", "https://user:hunter2@git.demo.example/x.git")
    assert "hunter2" not in str(caught.value)


async def test_row_40_objects_that_fail_gits_checks_are_refused(mirror: Mirror, upstream: Upstream) -> None:
    """A tree with `.git` in it: what CVE-2014-9390 and its children need."""
    blob = run_git("hash-object", "-w", "--stdin", cwd=upstream.bare, stdin=b"[core]").strip()
    tree = run_git("mktree", cwd=upstream.bare, stdin=f"100644 blob {blob}\t.git\n".encode()).strip()
    commit = run_git("commit-tree", tree, "-m", "evil", cwd=upstream.bare).strip()
    run_git("update-ref", "refs/heads/main", commit, cwd=upstream.bare)
    error = await problem_of(mirror)
    assert error.problem == "broken"
    assert "checks" in str(error)
    assert not mirror.path.exists()


async def test_connect_to_dials_another_address_and_tls_proves_the_name(
    upstream: Upstream, tmp_path: Path, authority: Authority
) -> None:
    address = f"127.0.0.1:{upstream.server.port}"
    mirror = Mirror(
        tmp_path / "m",
        "https://git.demo.example/demo.git",
        authority.file,
        connect_to={"git.demo.example": address},
    )
    assert (await mirror.fetch("x-access-token", None)).branch == "main"
    other = Mirror(
        tmp_path / "n",
        "https://other.demo.example/demo.git",
        authority.file,
        connect_to={"other.demo.example": address},
    )
    assert "certificate" in str(await problem_of(other))


async def test_reading_files(mirror: Mirror, upstream: Upstream) -> None:
    (upstream.tree / "link").symlink_to("README.md")
    commit = upstream.commit({"dir/allow list.yaml": "a", "big": b"x" * 50, "[glob]*": "g"})
    await mirror.fetch("x-access-token", None)
    assert await mirror.read_file(commit, "dir/allow list.yaml") == b"a"
    assert await mirror.read_file(commit, "[glob]*") == b"g"
    assert await mirror.read_file(commit, "missing") is None
    assert await mirror.read_file(commit, "dir/missing") is None
    assert await mirror.read_file(commit, "link/x") is None
    assert await mirror.read_file(commit, "big*") is None
    for path, words in (("link", "a link"), ("dir", "a folder"), ("big", "larger than 10")):
        with pytest.raises(MirrorError, match=words):
            await mirror.read_file(commit, path, max_bytes=10)
    with pytest.raises(ValueError):
        await mirror.read_file("--output=/tmp/x", "README.md")


async def test_row_73_exporting_a_real_tree(mirror: Mirror, upstream: Upstream, tmp_path: Path) -> None:
    container = upstream.tree / ".airut" / "container"
    container.mkdir(parents=True)
    (container / "alias").symlink_to("sub/run")
    (container / "sub").mkdir()
    (container / "sub" / "run").write_bytes(b"\0\xff\n")
    (container / "sub" / "run").chmod(0o755)
    commit = upstream.commit(
        {".airut/container/Dockerfile": "FROM x\n", ".airut/container-other/x": "not mine"}
    )
    await mirror.fetch("x-access-token", None)
    assert await mirror.export_tree(commit, ".airut/container", tmp_path / "out")
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert found == ["Dockerfile", "alias", "sub", "sub/run"]
    assert (tmp_path / "out" / "sub" / "run").read_bytes() == b"\0\xff\n"
    assert os.access(tmp_path / "out" / "sub" / "run", os.X_OK)
    assert not await mirror.export_tree(commit, ".airut/missing", tmp_path / "none")
    with pytest.raises(MirrorError, match="a file, not a folder"):
        await mirror.export_tree(commit, "README.md", tmp_path / "none")
    with pytest.raises(MirrorError, match="more than 2 files"):
        await mirror.export_tree(
            commit, ".airut/container", tmp_path / "none", limits=TreeLimits(max_files=2)
        )
    with pytest.raises(MirrorError, match="larger than 5 bytes"):
        await mirror.export_tree(
            commit, ".airut/container", tmp_path / "none", limits=TreeLimits(max_total_bytes=5)
        )


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc", "sub/../../x"])
async def test_row_42_a_context_with_a_link_out_is_refused(
    mirror: Mirror, upstream: Upstream, tmp_path: Path, target: str
) -> None:
    (upstream.tree / ".airut" / "container").mkdir(parents=True)
    (upstream.tree / ".airut" / "container" / "x").symlink_to(target)
    commit = upstream.commit({})
    await mirror.fetch("x-access-token", None)
    with pytest.raises(MirrorError, match="leads out"):
        await mirror.export_tree(commit, ".airut/container", tmp_path / "out")


async def test_what_many_fetches_left_is_repacked_and_nothing_is_lost(
    mirror: Mirror, upstream: Upstream, monkeypatch
) -> None:
    for number in range(3):
        upstream.commit({"a": str(number)})
        head = await mirror.fetch("x-access-token", None)

    def packs() -> list[Path]:
        return list((mirror.path / "objects" / "pack").glob("*.pack"))

    before = packs()
    await mirror.tidy()
    assert packs() == before, "a few pieces are not worth the wait"
    monkeypatch.setattr(mirror_module, "MANY_PACKS", 1)
    monkeypatch.setattr(mirror_module, "MANY_LOOSE_OBJECTS", 1)
    await mirror.tidy()
    assert len(packs()) == 1
    assert await mirror.read_file(head.commit, "a") == b"2"


async def test_how_far_a_fetch_is_is_told(mirror: Mirror, upstream: Upstream) -> None:
    upstream.commit({f"file-{number}": os.urandom(20_000).hex() for number in range(50)})
    told: list[str] = []
    await mirror.fetch("x-access-token", None, on_progress=told.append)
    assert any(line.startswith("receiving objects: 100 %") for line in told), told
    told.clear()
    await mirror.fetch("x-access-token", None, on_progress=told.append)
    assert told == []
