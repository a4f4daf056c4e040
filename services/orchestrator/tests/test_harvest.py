import asyncio
from pathlib import Path

import pytest

import airut_orchestrator.harvest as harvest_module
from airut_common.bus import Bus, BusUnavailable
from airut_common.config.models import SandboxConfig
from airut_common.contracts.v1 import BlobRef, SessionClosed
from airut_orchestrator.folders import ConversationFolders
from airut_orchestrator.harvest import MAX_NAMED, collect_files, note_denied, note_steering
from airut_orchestrator.verdict import Result
from airut_sandbox.steering import snapshot_steering


@pytest.fixture
def folders(tmp_path: Path) -> ConversationFolders:
    found = ConversationFolders(tmp_path)
    for folder in (found.workspace, found.outbox):
        folder.mkdir()
    return found


async def test_files_are_stored_and_refusals_named(bus: Bus, folders: ConversationFolders) -> None:
    (folders.outbox / "a.txt").write_text("a")
    (folders.outbox / "big").write_bytes(b"x" * 2000)
    (folders.outbox / "link").symlink_to("/etc/passwd")
    result = Result("done", "ok")
    await collect_files(bus, folders, SandboxConfig(max_outbox_file_bytes=1000), result)
    assert [(ref.name, await bus.get_blob(ref)) for ref in result.attachments] == [("a.txt", b"a")]
    assert [note.partition(" (")[0] for note in result.notes] == ["Not attached: big", "Not attached: link"]


class AwayBus:
    """Answers after some time."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def put_blob(self, data: bytes, *, name: str, media_type: str) -> BlobRef:
        if self.failures:
            self.failures -= 1
            raise BusUnavailable("away")
        return BlobRef(blob="b", name=name, media_type=media_type, size_bytes=len(data), sha256="0" * 64)


async def test_a_bus_that_is_away_for_a_moment_costs_no_file(folders: ConversationFolders) -> None:
    (folders.outbox / "a.txt").write_text("a")
    result = Result("done", "ok")
    await collect_files(AwayBus(2), folders, SandboxConfig(), result)  # type: ignore[arg-type]
    assert [ref.name for ref in result.attachments] == ["a.txt"]


async def test_a_bus_that_stays_away_costs_the_files_but_not_the_answer(
    folders: ConversationFolders, monkeypatch
) -> None:
    monkeypatch.setattr(harvest_module, "STORE_SECONDS", 0.0)
    for name in ("a.txt", "b.txt"):
        (folders.outbox / name).write_text("a")
    result = Result("done", "ok")
    await collect_files(AwayBus(99), folders, SandboxConfig(), result)  # type: ignore[arg-type]
    assert result.attachments == []
    assert "a.txt, b.txt" in result.notes[0]


async def test_an_outbox_that_is_no_folder_is_a_note(folders: ConversationFolders, bus: Bus) -> None:
    folders.outbox.rmdir()
    folders.outbox.symlink_to("/etc")
    result = Result("done", "ok")
    await collect_files(bus, folders, SandboxConfig(), result)
    assert result.attachments == []
    assert len(result.notes) == 1


async def test_row_41_changed_steering_files_are_named_and_many_are_counted(
    folders: ConversationFolders,
) -> None:
    before = await asyncio.to_thread(snapshot_steering, folders.workspace)
    (folders.workspace / ".claude").mkdir()
    for number in range(MAX_NAMED + 5):
        (folders.workspace / ".claude" / f"{number:03}.json").write_text("{}")
    result = Result("done", "ok")
    await note_steering(before, folders, result)
    assert ".claude/000.json (added)" in result.notes[0]
    assert result.notes[0].endswith("and 5 more")


async def test_a_workspace_that_is_gone_is_a_note(folders: ConversationFolders) -> None:
    before = await asyncio.to_thread(snapshot_steering, folders.workspace)
    folders.workspace.rmdir()
    result = Result("done", "ok")
    await note_steering(before, folders, result)
    assert "could not be looked at" in result.notes[0]


@pytest.mark.parametrize(
    ("denied", "words"), [(0, None), (1, "1 network request was"), (7, "7 network requests were")]
)
def test_refused_requests_are_counted(denied: int, words: str | None) -> None:
    result = Result("done", "ok")
    note_denied(SessionClosed(sandbox="s", requests=9, denied=denied), result)
    note_denied(None, result)
    assert [note[: len(words or "")] for note in result.notes] == ([words] if words else [])
