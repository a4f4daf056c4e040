"""Finding a value wherever it hides, and not where it does not."""

import base64
import os
from pathlib import Path

import pytest

from airut_demo.proof import occurs, search_files

VALUE = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "x-access-token:"])
@pytest.mark.parametrize("after", ["", "z", "zz"])
def test_it_is_found_within_base64_at_any_offset(before: str, after: str) -> None:
    encoded = base64.b64encode(f"{before}{VALUE}{after}".encode())
    assert occurs(b"Authorization: Basic " + encoded, [VALUE])
    assert not occurs(base64.b64encode(f"{before}{VALUE[:-1]}!{after}".encode()), [VALUE])


def test_files_are_searched_across_block_borders(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    block = 4 * 1024 * 1024
    (tmp_path / "below" / "border").write_bytes(b"\0" * (block - 7) + VALUE.encode() + b"\0" * 100)
    (tmp_path / "clean").write_bytes(os.urandom(1000))
    (tmp_path / "empty").touch()
    (tmp_path / "log").write_text(f"a line\ntoken {VALUE}\n")
    (tmp_path / "link").symlink_to("log")
    found = search_files(
        [tmp_path / "below", tmp_path / "clean", tmp_path / "empty", tmp_path / "log"], [VALUE]
    )
    assert found.holders == [tmp_path / "below" / "border", tmp_path / "log"]
    assert found.files == 4
    assert not found.unread
    assert search_files([tmp_path], ["another-value-altogether"]).holders == []
