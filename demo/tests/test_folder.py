"""The demo's folder: private, for one run at a time, empty at the beginning."""

import fcntl
import os
from pathlib import Path

import pytest

from airut_demo.errors import DemoFailed
from airut_demo.folder import demo_folder, empty_folder


async def test_it_is_private_and_emptied(tmp_path: Path) -> None:
    path = tmp_path / "state"
    async with demo_folder(path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "old" / "deep").mkdir(parents=True)
        (folder / "old" / "deep" / "file").write_text("x")
        (folder / "link").symlink_to(tmp_path)
    path.chmod(0o755)
    async with demo_folder(path) as folder:
        assert (folder / "old").exists()
        await empty_folder(folder)
        assert [entry.name for entry in folder.iterdir()] == ["lock"]
        assert folder.stat().st_mode & 0o777 == 0o700
    assert tmp_path.exists()


async def test_only_one_run_at_a_time_holds_it(tmp_path: Path) -> None:
    async with demo_folder(tmp_path / "state") as folder:
        (folder / "mine").touch()
        with pytest.raises(DemoFailed, match="a demo is running here"):
            async with demo_folder(tmp_path / "state"):
                pass
        assert (folder / "mine").exists()
        async with demo_folder(tmp_path / "other"):
            pass
    async with demo_folder(tmp_path / "state"):
        pass


async def test_what_an_installation_still_holds_is_not_removed_beneath_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airut_demo.folder.STOPPING_SECONDS", 0.1)
    (tmp_path / "state").mkdir()
    with (tmp_path / "state/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DemoFailed, match="does not stop"):
            await empty_folder(tmp_path)
        assert (tmp_path / "state/lock").exists()
    await empty_folder(tmp_path)
    assert not (tmp_path / "state").exists()


async def test_a_link_or_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "precious").touch()
    (tmp_path / "link").symlink_to(elsewhere)
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(DemoFailed, match="not a folder of yours"):
            async with demo_folder(tmp_path / name):
                pass
    assert (elsewhere / "precious").exists()


async def test_the_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = Path("/")
    if os.geteuid() == 0:
        (path := tmp_path / "theirs").mkdir()
        os.chown(path, 12345, 12345)
    with pytest.raises(DemoFailed, match="not a folder of yours"):
        async with demo_folder(path):
            pass
