"""Field-notes rows 42, 43, 73: a folder of a commit, before it is written."""

from pathlib import Path

import pytest

from airut_sandbox.mirror_errors import MirrorError
from airut_sandbox.tree import (
    TreeEntry,
    TreeLimits,
    check_tree,
    parse_ls_tree,
    split_batch,
    stays_inside,
    write_tree,
)


def entry(path: str, mode: str = "100644", size: int = 1) -> TreeEntry:
    return TreeEntry(mode, "a" * 40, size, path)


@pytest.mark.parametrize(
    ("path", "target", "inside"),
    [
        ("link", "file", True),
        ("link", "folder/file", True),
        ("a/link", "../file", True),
        ("a/b/link", "../../c", True),
        ("link", "./file", True),
        ("link", "..", False),
        ("a/link", "../..", False),
        ("link", "/etc/passwd", False),
        ("link", "folder/../../etc", False),
        # Through another link `d -> ../../r` this would start somewhere else than it reads.
        ("link", "p/q/d/../../x", False),
        ("link", "", False),
    ],
)
def test_links(path: str, target: str, inside: bool) -> None:
    assert stays_inside(path, target) is inside


def test_parse_ls_tree() -> None:
    output = (
        b"100644 blob "
        + b"a" * 40
        + b"      12\tdir/a b\n\0"
        + b"160000 commit "
        + b"b" * 40
        + b"       -\tsub\0"
    )
    first, second = parse_ls_tree(output)
    assert (first.path, first.size_bytes, first.is_file) == ("dir/a b\n", 12, True)
    assert second.kind == "a submodule"


def test_what_the_copy_has_lost_is_said() -> None:
    with pytest.raises(MirrorError, match=r"lost 'dir/a'"):
        parse_ls_tree(b"100644 blob " + b"a" * 40 + b"     BAD\tdir/a\0")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (entry("c/sub", "160000"), "submodule"),
        (entry("c/../x"), "acceptable name"),
        (entry("c/.GIT/config"), "acceptable name"),
        (entry("c/x", "100664"), "unknown"),
        (entry("c/x", size=99), "larger than 10"),
        (entry("c/l", "120000", 5000), "too long"),
    ],
)
def test_row_43_what_may_not_be_written(bad: TreeEntry, words: str) -> None:
    limit = 10 if bad.size_bytes == 99 else 10_000
    with pytest.raises(MirrorError, match=words) as caught:
        check_tree([bad], "c", TreeLimits(max_total_bytes=limit))
    assert caught.value.problem == "unusable-tree"


def test_too_many_files() -> None:
    with pytest.raises(MirrorError, match="more than 2 files"):
        check_tree([entry(f"c/{n}") for n in range(3)], "c", TreeLimits(max_files=2))


def test_writing_keeps_kinds_and_modes(tmp_path: Path) -> None:
    entries = [entry("Dockerfile"), entry("bin/run", "100755"), entry("bin/alias", "120000")]
    write_tree(tmp_path / "out", entries, [b"FROM x", b"#!/bin/sh", b"run"])
    assert (tmp_path / "out" / "Dockerfile").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "out" / "bin" / "run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / "bin" / "alias").readlink() == Path("run")


def test_row_42_a_link_out_leaves_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="leads out"):
        write_tree(tmp_path / "out", [entry("Dockerfile"), entry("x", "120000")], [b"FROM x", b"../../etc"])
    assert not (tmp_path / "out").exists()


def test_a_missing_object_is_an_error() -> None:
    with pytest.raises(MirrorError) as caught:
        split_batch(("a" * 40 + " missing\n").encode(), [entry("x")])
    assert caught.value.problem == "broken"
