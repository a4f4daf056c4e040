"""Field-notes row 73: no two trees read alike."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_sandbox.tree_hash import hash_parts, hash_tree


@given(st.lists(st.binary(max_size=8), max_size=5), st.lists(st.binary(max_size=8), max_size=5))
def test_row_73_parts_never_run_into_each_other(one: list[bytes], other: list[bytes]) -> None:
    assert (hash_parts(*one) == hash_parts(*other)) is (one == other)


def tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_row_73_trees_that_once_collided(tmp_path: Path) -> None:
    trees = [
        {"a": b"bc"},
        {"ab": b"c"},
        {"a": b"b", "c": b""},
        {"a/b": b"c"},
        {"a": b"b\0c"},
        {"Dockerfile": b"FROM x\nx", "y": b""},
        {"Dockerfile": b"FROM x\n", "xy": b""},
    ]
    hashes = [hash_tree(tree(tmp_path / str(number), files)) for number, files in enumerate(trees)]
    assert len(set(hashes)) == len(trees)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a").write_text("other"),
        lambda folder: (folder / "a").rename(folder / "b"),
        lambda folder: (folder / "a").chmod(0o755),
        lambda folder: (folder / "empty").mkdir(),
        lambda folder: (folder / "link").symlink_to("a"),
        lambda folder: (folder / "s" / "x").unlink(),
    ],
)
def test_every_change_counts(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = tree(tmp_path / "t", {"a": b"1", "s/x": b"2"})
    before = hash_tree(folder)
    change(folder)
    assert hash_tree(folder) != before


def test_times_do_not_count(tmp_path: Path) -> None:
    one = tree(tmp_path / "one", {"a": b"1", "b/c": b"2"})
    other = tree(tmp_path / "other", {"b/c": b"2", "a": b"1"})
    assert hash_tree(one) == hash_tree(other)
