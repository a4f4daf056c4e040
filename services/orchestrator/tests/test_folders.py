from pathlib import Path

import pytest

from airut_orchestrator.failures import TaskFailure
from airut_orchestrator.folders import ConversationFolders
from airut_orchestrator.instance import AlreadyRunning, only_instance
from airut_orchestrator.prepare import Preparer
from airut_orchestrator.reserve import Reserve


class NoPodman:
    rootless = False


async def ready(root: Path) -> ConversationFolders:
    folders = ConversationFolders(root)
    await folders.make_ready(NoPodman())  # type: ignore[arg-type]
    return folders


async def test_what_belongs_to_one_task_is_emptied_and_the_rest_kept(tmp_path: Path) -> None:
    folders = await ready(tmp_path / "conversations" / "c")
    for folder in (folders.outbox, folders.storage, folders.agent):
        (folder / "old").write_text("x")
    folders.workspace.mkdir()
    (folders.root / ".workspace.draft").mkdir()
    await ready(folders.root)
    found = sorted(str(path.relative_to(folders.root)) for path in folders.root.rglob("*"))
    assert found == ["agent", "agent/old", "outbox", "storage", "storage/old", "workspace"]
    assert folders.root.stat().st_mode & 0o777 == folders.root.parent.stat().st_mode & 0o777 == 0o700


async def test_what_another_host_has_gone_on_from_is_not_gone_on_with(tmp_path: Path) -> None:
    """This host was away, another had the conversation and is lost now: what lies here is older than the thread."""
    folders = await ready(tmp_path / "conversations" / "c")
    for folder in (folders.workspace, folders.storage, folders.agent):
        folder.mkdir(exist_ok=True)
        (folder / "old").write_text("x")
    await folders.make_ready(NoPodman(), anew_for="task-1")  # type: ignore[arg-type]
    assert not folders.has_workspace
    assert sorted(path.name for path in folders.root.rglob("old")) == []
    folders.workspace.mkdir()
    await folders.make_ready(NoPodman(), anew_for="task-1")  # type: ignore[arg-type]
    assert folders.has_workspace, "another try of the same task goes on"
    await folders.make_ready(NoPodman(), anew_for="task-2")  # type: ignore[arg-type]
    assert not folders.has_workspace


async def test_row_62_a_link_in_place_of_the_outbox_is_removed_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    folders = await ready(tmp_path / "conversations" / "c")
    folders.outbox.rmdir()
    folders.outbox.symlink_to(outside)
    await ready(folders.root)
    assert not folders.outbox.is_symlink()
    assert (outside / "precious").exists()


@pytest.mark.parametrize("name", ["workspace", "storage", "agent", "inbox", "outbox"])
async def test_a_folder_that_is_none_is_found_out_before_it_is_mounted(tmp_path: Path, name: str) -> None:
    folders = ConversationFolders(tmp_path)
    for each in ("workspace", "storage", "agent", "inbox", "outbox"):
        (tmp_path / each).mkdir()
    folders.check()
    (tmp_path / name).rmdir()
    with pytest.raises(TaskFailure, match=name):
        folders.check()
    (tmp_path / name).symlink_to("/etc")
    with pytest.raises(TaskFailure, match=name):
        folders.check()


def test_nothing_of_the_host_is_mounted_but_the_conversation_and_the_program(tmp_path: Path) -> None:
    mounts = ConversationFolders(tmp_path).mounts(Path("/cache/claude"))
    assert {str(mount.source.parent) for mount in mounts} == {str(tmp_path), "/cache"}
    assert {mount.target for mount in mounts if mount.read_only} == {"/inbox", "/opt/airut/agent/claude"}


def test_row_66_one_process_holds_a_state_folder(tmp_path: Path) -> None:
    with only_instance(tmp_path):
        with pytest.raises(AlreadyRunning), only_instance(tmp_path):
            pass
    with only_instance(tmp_path):
        pass


def test_the_reserve_is_room_that_can_be_given_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 4096)
    for _ in range(2):
        reserve.take()
        assert (tmp_path / "reserve").stat().st_size == 4096
    for _ in range(2):
        reserve.give_up()
        assert not (tmp_path / "reserve").exists()
    Reserve(tmp_path / "too-large", 2**60).take()
    assert not (tmp_path / "too-large").exists()


def test_on_a_full_disk_no_task_begins(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 4096)
    preparer = Preparer(
        podman=NoPodman(),
        bus=None,
        state=tmp_path,
        cache=tmp_path,
        installation="x",
        reserve=reserve,
        sessions=None,
    )  # type: ignore[arg-type]
    preparer.check_space(1)
    assert (tmp_path / "reserve").exists()
    with pytest.raises(TaskFailure, match="disk is full") as failure:
        preparer.check_space(2**40)
    assert failure.value.outcome == "refused"


async def test_that_folders_are_too_full_is_remembered_until_they_are_not(tmp_path: Path) -> None:
    folders = await ready(tmp_path / "c")
    assert not folders.are_too_full
    folders.note_too_full(too_full=True)
    again = await ready(tmp_path / "c")
    assert again.are_too_full
    again.note_too_full(too_full=False)
    assert not folders.are_too_full
