"""Conversations through the whole path: isolation, order, files in and out (acceptance 6 and 7)."""

import asyncio
import os
from pathlib import Path

import pytest

from .conftest import ALL, Site, bash, text_of

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


def workspaces(site: Site) -> list[Path]:
    return list((site.installation.folder / "state/services/orchestrator/conversations").glob("*/workspace"))


async def test_two_conversations_run_side_by_side_and_never_see_each_other(site: Site) -> None:
    write = "echo {0} > /workspace/mine; echo {0} > /storage/mine; sleep 4; cat /workspace/mine /storage/mine; ls /workspace /storage; env | grep DEMO_GIT_TOKEN"
    one, two = await asyncio.gather(
        site.ask(bash(write.format("first")), ALL, subject="Side by side 1"),
        site.ask(bash(write.format("second")), ALL, subject="Side by side 2"),
    )
    tasks = [await site.task_of(f"Side by side {number}") for number in (1, 2)]
    networks = [await site.api(f"/tasks/{task['id']}/network") for task in tasks]
    sandboxes = [{event["sandbox"] for event in network} for network in networks]
    assert "second" not in text_of(one)
    assert "first" not in text_of(two)
    assert all(len(found) == 1 for found in sandboxes)
    assert sandboxes[0] != sandboxes[1]
    surrogates = [text_of(reply).split("DEMO_GIT_TOKEN=")[1].split()[0] for reply in (one, two)]
    assert surrogates[0] != surrogates[1]
    overlap = max(task["created_at"] for task in tasks) < min(task["updated_at"] for task in tasks)
    assert overlap, "they were to run at the same time"


async def test_what_waits_in_a_conversation_runs_after_what_works_and_together(site: Site) -> None:
    first = await site.ask(bash("echo start > /storage/log"), ALL, subject="In order")
    slow = site.script(bash("sleep 5; echo slow >> /storage/log; cat /storage/log"), ALL)
    fast = site.script(bash("echo fast >> /storage/log; cat /storage/log /inbox/manifest.json"), ALL)
    one = await site.send(f"Do {slow}", reply_to=first, subject="Re: In order, slow")
    await site.until("Re: In order, slow", "running")
    two = await site.send(f"Do {fast}", reply_to=first, subject="Re: In order, fast")
    await site.until("Re: In order, fast", "queued")
    three = await site.send(
        "And look at this.", reply_to=first, subject="Re: In order, too", attachments={"look.txt": b"1"}
    )
    replies = await asyncio.gather(site.reply_to(one), site.reply_to(three))
    assert "fast" not in text_of(replies[0])
    assert text_of(replies[1]).index("slow") < text_of(replies[1]).index("fast")
    assert "look.txt" in text_of(replies[1])
    lead = await site.task_of("Re: In order, fast")
    last = await site.task_of("Re: In order, too")
    assert (lead["state"], last["state"], last["merged_into"]) == ("done", "merged", lead["id"])
    prompts = [
        event["text"] for event in await site.api(f"/tasks/{lead['id']}/output") if event["type"] == "prompt"
    ]
    assert [text.split()[0] for text in prompts] == ["Do", "And"]
    assert site.replies_to(two) == []


async def test_attachments_go_in_and_out(site: Site) -> None:
    reply = await site.ask(
        bash("cat /inbox/manifest.json; cp '/inbox/data.txt' /outbox/copy.txt; touch /inbox/x 2>&1"),
        ALL,
        subject="Files",
        attachments={"data.txt": b"the data"},
    )
    attached = {part.get_filename(): part.get_payload(decode=True) for part in reply.iter_attachments()}
    assert attached["copy.txt"].strip() == b"the data"
    assert "Read-only file system" in text_of(reply)


async def test_row_42_a_link_in_the_outbox_to_a_file_of_the_host_is_refused_and_named(site: Site) -> None:
    reply = await site.ask(
        bash(
            "ln -s /etc/passwd /outbox/passwd; ln -s /proc/1/environ /outbox/env; mkfifo /outbox/pipe; echo ok > /outbox/ok.txt"
        ),
        ALL,
        subject="Links",
    )
    attached = [part.get_filename() for part in reply.iter_attachments()]
    assert attached == ["ok.txt"]
    for name in ("passwd", "env", "pipe"):
        assert name in text_of(reply)
    assert "root:x" not in reply.as_string()


async def test_the_workspace_shares_no_inode_with_the_mirror(site: Site) -> None:
    await site.ask(bash("git log --oneline"), ALL, subject="Inodes")
    state = site.installation.folder / "state/services/orchestrator"

    def inodes(root: Path) -> set[tuple[int, int]]:
        files = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
        return {(found.st_dev, found.st_ino) for found in (file.lstat() for file in files)}

    mirror = inodes(state / "mirrors")
    assert mirror
    assert workspaces(site)
    for workspace in workspaces(site):
        assert not mirror & inodes(workspace)


async def test_row_40_the_host_never_runs_git_in_a_used_workspace(site: Site) -> None:
    trap = "printf '#!/bin/sh\\ntouch /storage/../../../pwned; touch {0}\\n' > .git/hooks/{1}; chmod +x .git/hooks/{1}"
    pwned = site.installation.folder / "pwned"
    hooks = ("post-checkout", "post-merge", "reference-transaction", "pre-commit", "fsmonitor")
    traps = "; ".join(trap.format(pwned, hook) for hook in hooks)
    first = await site.ask(
        bash(
            f'{traps}; git config core.fsmonitor "touch {pwned}"; git config core.sshCommand "touch {pwned}"; echo set'
        ),
        ALL,
        subject="Traps",
    )
    again = await site.ask(bash("echo again"), ALL, subject="Re: Traps", reply_to=first)
    assert "again" in text_of(again)
    assert not pwned.exists()


async def test_row_41_changed_steering_files_are_named(site: Site) -> None:
    reply = await site.ask(
        bash("mkdir -p .claude; echo '{}' > .claude/settings.json; echo x > CLAUDE.md"),
        ALL,
        subject="Steering",
    )
    assert ".claude/settings.json" in text_of(reply)
    assert "CLAUDE.md" in text_of(reply)
