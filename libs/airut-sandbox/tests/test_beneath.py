"""Field-notes rows 42, 43, 62: nothing a sandbox leaves behind may lead the host out of its folder."""

import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from airut_sandbox import openat2
from airut_sandbox.beneath import (
    NotPlain,
    discard_tree,
    handle_beneath,
    list_folder,
    open_folder,
    read_plain,
    remove_tree,
    walk_by_steps,
    write_new,
)


def read(folder: Path, name: str, max_bytes: int = 1000) -> bytes:
    with open_folder(folder) as root, handle_beneath(root, name) as handle:
        return read_plain(handle, max_bytes=max_bytes)


def test_reads_a_plain_file_in_a_folder_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"content")
    assert read(tmp_path, "a/b/file") == b"content"


def test_row_42_a_symbolic_link_is_looked_at_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    folder = tmp_path / "outbox"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(NotPlain, match="symbolic link"):
        read(folder, "link")


def test_row_42_the_folder_itself_may_not_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outbox").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), open_folder(tmp_path / "outbox"):
        pass


@pytest.mark.parametrize("with_openat2", [True, False])
@pytest.mark.parametrize("name", ["out/secret", "out/../out/secret", "loop/x"])
def test_row_42_a_linked_parent_is_not_followed(
    tmp_path: Path, name: str, with_openat2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_openat2:
        monkeypatch.setattr(openat2, "available", lambda: False)
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (outside / "secret").write_text("host")
    folder.mkdir()
    (folder / "out").symlink_to("../outside")
    (folder / "loop").symlink_to("loop")
    with pytest.raises(OSError) as caught:
        read(folder, name)
    assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR, errno.EXDEV}


@pytest.mark.parametrize("with_openat2", [True, False])
@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "..", ".", "", "a/..", "a/../../secret"])
def test_row_43_no_way_up_or_out(
    tmp_path: Path, name: str, with_openat2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_openat2:
        monkeypatch.setattr(openat2, "available", lambda: False)
    (tmp_path / "secret").write_text("host")
    (tmp_path / "folder" / "a").mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        read(tmp_path / "folder", name)
    assert caught.value.errno == errno.EXDEV


def test_this_kernel_has_openat2() -> None:
    assert openat2.available()


def test_row_42_another_mount_is_refused_by_steps_too(tmp_path: Path) -> None:
    with open_folder(Path("/")) as root:
        with pytest.raises(OSError) as caught:
            walk_by_steps(root, "proc/self")
        assert caught.value.errno in {errno.EXDEV, errno.ENOTDIR, errno.ELOOP}
        with pytest.raises(OSError):
            openat2.openat2(root, b"proc/sys", os.O_PATH | os.O_DIRECTORY)


def test_row_42_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotPlain, match="named pipe"):
        read(tmp_path, "pipe")


def test_row_42_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(NotPlain, match="socket"):
            read(tmp_path, "socket")


def test_row_42_a_device_is_refused_and_not_opened() -> None:
    with pytest.raises(NotPlain, match="character device"):
        read(Path("/dev"), "zero")


def test_row_42_a_hard_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(NotPlain, match="2 hard links"):
        read(tmp_path, "b")


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(NotPlain, match="larger than 1000"):
        read(tmp_path, "sparse")


def test_row_42_the_file_that_was_looked_at_is_the_one_that_is_read(tmp_path: Path) -> None:
    """A name swapped for a link between look and read changes nothing: the handle is read, not the name."""
    (tmp_path / "secret").write_text("host")
    (tmp_path / "file").write_text("mine")
    with open_folder(tmp_path) as root, handle_beneath(root, "file") as handle:
        (tmp_path / "file").rename(tmp_path / "moved")
        (tmp_path / "file").symlink_to("secret")
        assert read_plain(handle, max_bytes=100) == b"mine"


def test_row_62_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "report.txt").symlink_to(tmp_path / "victim")
    with open_folder(inbox) as root, pytest.raises(FileExistsError):
        write_new(root, "report.txt", b"attachment")
    assert not (tmp_path / "victim").exists()


def test_listing_is_bounded(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}").touch()
    with open_folder(tmp_path) as root:
        entries, more = list_folder(root, 5)
    assert (len(entries), more) == (5, True)


def test_row_44_a_tree_deeper_than_descriptors_and_paths_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    depth = resource.getrlimit(resource.RLIMIT_NOFILE)[0] + 500
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(min(depth, 6000)):
        os.mkdir("deeper-than-path-max-allows", dir_fd=fd)
        below = os.open("deeper-than-path-max-allows", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(tree)
    assert not tree.exists()


def test_row_42_removing_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("host")
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree" / "sub" / "link").symlink_to(tmp_path / "kept" / "file")
    os.mkfifo(tmp_path / "tree" / "sub" / "pipe")
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "kept" / "file").read_text() == "host"


def test_a_link_in_place_of_the_tree_goes_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "tree").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "tree")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]


def test_folders_without_permissions_are_removed(tmp_path: Path) -> None:
    (tmp_path / "tree" / "locked" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "locked" / "below" / "file").touch()
    (tmp_path / "tree" / "locked" / "below").chmod(0)
    (tmp_path / "tree" / "locked").chmod(0)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


async def test_discarding_what_is_not_there_is_fine(tmp_path: Path) -> None:
    await discard_tree(tmp_path / "nothing")
    await discard_tree(tmp_path / "no" / "parent")
