import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airut_common.private_file import create_private, replace_private


def test_row_81_it_is_private_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    create_private(file, b"secret")
    assert file.read_bytes() == b"secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_one_that_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "key"
    create_private(file, b"first")
    create_private(file, b"second")
    assert file.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [file]


def test_many_at_once_agree_on_one_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    contents = [bytes([number]) * 50_000 for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda content: create_private(file, content), contents))
    assert file.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        create_private(tmp_path / "none" / "key", b"x")


def test_a_replacement_is_private_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"old")
    file.chmod(0o644)
    replace_private(file, b"new")
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
