"""Field-notes rows 40 and 41: what steers the agent, git or an editor is watched."""

import os
from pathlib import Path

import pytest

from airut_sandbox.steering import changed_steering, snapshot_steering


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / ".claude" / "commands").mkdir(parents=True)
    (folder / ".claude" / "settings.json").write_text("{}")
    (folder / ".git").mkdir()
    (folder / "CLAUDE.md").write_text("be kind")
    (folder / "src.py").write_text("pass")
    return folder


def test_nothing_changed(workspace: Path) -> None:
    before = snapshot_steering(workspace)
    (workspace / "src.py").write_text("other")
    os.utime(workspace / "CLAUDE.md", (0, 0))
    assert changed_steering(before, snapshot_steering(workspace)) == ()


def test_row_41_absent_at_the_start_then_made(workspace: Path) -> None:
    before = snapshot_steering(workspace)
    (workspace / ".mcp.json").write_text("{}")
    (workspace / ".claude" / "settings.local.json").write_text("{}")
    (workspace / ".vscode").mkdir()
    (workspace / ".vscode" / "tasks.json").write_text("{}")
    (workspace / ".vscode" / "colours.json").write_text("{}")
    assert changed_steering(before, snapshot_steering(workspace)) == (
        ".claude/settings.local.json (added)",
        ".mcp.json (added)",
        ".vscode/tasks.json (added)",
    )


def test_row_40_a_planted_hook_is_named(workspace: Path) -> None:
    before = snapshot_steering(workspace)
    (workspace / ".git" / "hooks").mkdir()
    (workspace / ".git" / "hooks" / "post-checkout").write_text("#!/bin/sh\n")
    assert changed_steering(before, snapshot_steering(workspace)) == (".git/hooks/post-checkout (added)",)


def test_changed_and_deleted(workspace: Path) -> None:
    before = snapshot_steering(workspace)
    (workspace / "CLAUDE.md").write_text("be cruel")
    (workspace / ".claude" / "settings.json").unlink()
    assert changed_steering(before, snapshot_steering(workspace)) == (
        ".claude/settings.json (deleted)",
        "CLAUDE.md (changed)",
    )


def test_row_42_links_are_not_followed_and_count_as_change(workspace: Path, tmp_path: Path) -> None:
    before = snapshot_steering(workspace)
    (tmp_path / "secret").write_text("be kind")
    (workspace / "CLAUDE.md").unlink()
    (workspace / "CLAUDE.md").symlink_to(tmp_path / "secret")
    (workspace / ".vscode").symlink_to(tmp_path)
    lines = changed_steering(before, snapshot_steering(workspace))
    assert lines[1] == "CLAUDE.md (changed)"
    assert lines[0].startswith(".vscode/tasks.json (cannot be checked")


def test_row_42_a_pipe_or_a_giant_is_named_and_not_read(workspace: Path) -> None:
    before = snapshot_steering(workspace)
    os.mkfifo(workspace / ".envrc")
    with (workspace / ".mcp.json").open("wb") as file:
        file.truncate(2**40)
    lines = changed_steering(before, snapshot_steering(workspace))
    assert lines[0].startswith(".envrc (cannot be checked: a named pipe")
    assert lines[1].startswith(".mcp.json (cannot be checked: 1099511627776 bytes")


def test_row_44_too_many_or_too_deep(workspace: Path) -> None:
    for number in range(2100):
        (workspace / ".claude" / f"{number}").touch()
    lines = changed_steering(snapshot_steering(workspace), snapshot_steering(workspace))
    assert ".claude (too many files to be checked)" in lines


def test_row_37_names_are_shown_harmless(workspace: Path) -> None:
    before = snapshot_steering(workspace)
    (workspace / ".claude" / "x\n\x1b[2J\u202e").touch()
    assert changed_steering(before, snapshot_steering(workspace)) == (".claude/x__[2J_ (added)",)
