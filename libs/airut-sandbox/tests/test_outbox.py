"""Field-notes rows 42, 43, 62, from the host's side."""

import json
import os
import socket
from pathlib import Path

import pytest

from airut_sandbox.outbox import Collected, InboxFile, OutboxLimits, Refusal, collect_outbox, fill_inbox

LIMITS = OutboxLimits(max_files=5, max_file_bytes=100, max_total_bytes=250, max_depth=3, max_entries=50)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    folder = tmp_path / "outbox"
    folder.mkdir()
    return folder


def reasons(collected: Collected) -> dict[str, str]:
    return {refusal.name: refusal.reason for refusal in collected.refused}


def test_files_come_out_with_their_folders_in_the_name(outbox: Path) -> None:
    (outbox / "report.txt").write_text("one")
    (outbox / "plots").mkdir()
    (outbox / "plots" / "a.svg").write_text("two")
    collected = collect_outbox(outbox, LIMITS)
    assert {file.name: file.data for file in collected.files} == {"report.txt": b"one", "plots_a.svg": b"two"}
    assert collected.refused == ()


def test_an_outbox_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert collect_outbox(tmp_path / "nothing", LIMITS) == Collected((), ())


def test_row_42_a_replaced_outbox_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "secret").write_text("host")
    (tmp_path / "outbox").symlink_to("host")
    collected = collect_outbox(tmp_path / "outbox", LIMITS)
    assert collected.files == ()
    assert "not a readable folder" in reasons(collected)["outbox"]


def test_row_42_links_and_devices_are_refused_and_named(outbox: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    (outbox / "absolute").symlink_to("/etc/shadow")
    (outbox / "folder").symlink_to(tmp_path)
    (outbox / "dangling").symlink_to("nowhere")
    (outbox / "proc").symlink_to("/proc/self/root/etc/shadow")
    os.mkfifo(outbox / "pipe")
    os.link(tmp_path / "secret", outbox / "hard")
    (outbox / "good.txt").write_text("fine")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(outbox / "socket"))
        collected = collect_outbox(outbox, LIMITS)
    assert [file.name for file in collected.files] == ["good.txt"]
    found = reasons(collected)
    assert sorted(found) == ["absolute", "dangling", "folder", "hard", "pipe", "proc", "socket"]
    assert all("symbolic link" in found[name] for name in ("absolute", "dangling", "folder", "proc"))
    assert "named pipe" in found["pipe"]
    assert "hard links" in found["hard"]
    assert "socket" in found["socket"]


def test_limits_on_size_count_and_depth_are_named(outbox: Path) -> None:
    (outbox / "large").write_bytes(b"x" * 101)
    for number in range(7):
        (outbox / f"small-{number}").write_text("x")
    deep = outbox / "z1" / "z2" / "z3" / "z4"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    collected = collect_outbox(outbox, LIMITS)
    assert len(collected.files) == 5
    found = reasons(collected)
    assert found["large"] == "101 bytes, larger than 100"
    assert found["small-5"] == found["small-6"] == "more than 5 files"
    assert found["z1/z2/z3/z4"] == "folders deeper than 3"


def test_the_total_is_limited(outbox: Path) -> None:
    for name in "abc":
        (outbox / name).write_bytes(b"x" * 100)
    collected = collect_outbox(outbox, LIMITS)
    assert [file.name for file in collected.files] == ["a", "b"]
    assert "together" in reasons(collected)["c"]


def test_row_44_a_flood_of_names_is_cut_short(outbox: Path) -> None:
    for number in range(200):
        (outbox / f"{number:03}").symlink_to("x")
    collected = collect_outbox(outbox, OutboxLimits(max_entries=100))
    assert len(collected.refused) == 51
    assert collected.refused[-1] == Refusal("…", "51 more were refused")


def test_row_43_names_are_harmless_and_unique(outbox: Path) -> None:
    for name in ("a\nb.txt", "A.txt", "a.TXT", "\u202etxt.exe"):
        (outbox / name).write_text("x")
    (outbox / "bad\x1b[2J").symlink_to("x")
    collected = collect_outbox(outbox, LIMITS)
    assert sorted(file.name for file in collected.files) == ["A.txt", "_txt.exe", "a (2).TXT", "a_b.txt"]
    assert [refusal.name for refusal in collected.refused] == ["bad_[2J"]


def test_the_inbox_holds_the_files_and_a_manifest(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    entries = fill_inbox(
        inbox, [InboxFile("../x.txt", b"one", "text/plain"), InboxFile("manifest.json", b"two")]
    )
    assert [entry.file for entry in entries] == ["_x.txt", "manifest (2).json"]
    assert (inbox / "_x.txt").read_bytes() == b"one"
    manifest = json.loads((inbox / "manifest.json").read_text())
    assert manifest["files"][0] == {
        "file": "_x.txt",
        "name": "../x.txt",
        "media_type": "text/plain",
        "size_bytes": 3,
        "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
        "message": 1,
    }
    assert (inbox / "_x.txt").stat().st_mode & 0o777 == 0o644


def test_row_62_what_a_sandbox_left_in_the_inbox_is_gone(tmp_path: Path) -> None:
    inbox, victim = tmp_path / "inbox", tmp_path / "victim"
    inbox.mkdir()
    (inbox / "report.txt").symlink_to(victim)
    (inbox / "manifest.json").symlink_to(victim)
    (inbox / "old" / "deep").mkdir(parents=True)
    fill_inbox(inbox, [InboxFile("report.txt", b"attachment")])
    assert not victim.exists()
    assert sorted(path.name for path in inbox.iterdir()) == ["manifest.json", "report.txt"]
    assert not (inbox / "report.txt").is_symlink()


def test_row_62_an_inbox_replaced_by_a_link_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "inbox").symlink_to("host")
    fill_inbox(tmp_path / "inbox", [InboxFile("a", b"x")])
    assert list((tmp_path / "host").iterdir()) == []
    assert not (tmp_path / "inbox").is_symlink()
