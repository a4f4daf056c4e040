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


CORE = '[core]\n\tbare = false\n[remote "origin"]\n\turl = https://x.example/y\n'
FOLLOWS = '[branch "main"]\n\tremote = origin\n\tmerge = refs/heads/main\n'
NEWER = FOLLOWS + FOLLOWS.replace("main", "feature/x")


@pytest.mark.parametrize(
    ("config", "is_named"),
    [
        (CORE + NEWER, False),
        (NEWER + CORE, False),
        (CORE, False),
        (CORE + FOLLOWS + "[core]\n\tfsmonitor = x\n", True),
        (CORE + FOLLOWS + "\tfsmonitor = x\n", True),
        (CORE + FOLLOWS + "[include]\n\tpath = ../c\n", True),
        (CORE + FOLLOWS + '[branch "x"] [core] fsmonitor = x\n', True),
        (CORE + FOLLOWS + '[branch "x"]\n\tremote = ext::sh -c x\n', True),
        (CORE + FOLLOWS + '[branch "x"]\n  [core]\n\tfsmonitor = x\n', True),
        (CORE.replace("y", "z") + FOLLOWS, True),
    ],
)
def test_row_40_the_configuration_of_git_is_watched_but_for_branches(
    workspace: Path, config: str, is_named: bool
) -> None:
    (workspace / ".git" / "config").write_text(CORE + FOLLOWS)
    before = snapshot_steering(workspace)
    (workspace / ".git" / "config").write_text(config)
    changed = changed_steering(before, snapshot_steering(workspace))
    assert changed == ((".git/config (changed)",) if is_named else ())


def test_row_40_attributes_and_a_replaced_git_folder_are_named(workspace: Path) -> None:
    before = snapshot_steering(workspace)
    (workspace / ".gitattributes").write_text("* filter=x")
    (workspace / ".git" / "info").mkdir()
    (workspace / ".git" / "info" / "attributes").write_text("* filter=x")
    assert changed_steering(before, snapshot_steering(workspace)) == (
        ".git/info/attributes (added)",
        ".gitattributes (added)",
    )
    (workspace / ".git").rename(workspace / "g")
    (workspace / ".git").write_text("gitdir: g")
    assert any(
        line.startswith(".git/config") for line in changed_steering(before, snapshot_steering(workspace))
    )


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
