import json

import pytest

from airut_common.config.models import LimitsConfig
from airut_orchestrator.agents.claude_code import ClaudeCode
from airut_orchestrator.transcript import Transcript
from airut_orchestrator.verdict import judge
from airut_sandbox.container import DiskEnd, Exit

LIMITS = LimitsConfig(timeout_seconds=600)
NOTHING = DiskEnd()


def ended(code: int = 0, *, timed_out=False, oom_killed=False, stderr=b"", disk=NOTHING) -> Exit:
    return Exit(
        code, timed_out=timed_out, oom_killed=oom_killed, stopped=False, stderr_tail=stderr, disk=disk
    )


def said(*lines: bytes) -> Transcript:
    found = Transcript(
        ClaudeCode(), lambda _: None, said=lambda _: None, repo="r", task="t", conversation="c"
    )
    for line in lines:
        found.take(line)
    return found


TEXT = json.dumps(
    {"type": "assistant", "message": {"content": [{"type": "text", "text": "half way"}]}}
).encode()
DONE = json.dumps({"type": "result", "subtype": "success", "result": "all done"}).encode()
FAILED = json.dumps({"type": "result", "subtype": "error_x", "is_error": True, "result": "cannot"}).encode()


@pytest.mark.parametrize(
    ("exit_", "lines", "outcome", "words"),
    [
        (ended(), [TEXT, DONE], "done", "all done"),
        (ended(1), [TEXT, DONE], "done", "all done"),
        (ended(1), [FAILED], "failed", "cannot"),
        (ended(1, stderr=b"segfault ```"), [TEXT], "failed", "segfault '''"),
        (ended(1, stderr=b"x"), [], "failed", "without an answer (exit code 1)"),
        (ended(0), [b"garbage", b"more"], "failed", "could not be understood"),
        (ended(143, timed_out=True), [TEXT], "timed_out", "did not finish within 10 min"),
        (ended(143, timed_out=True), [TEXT, DONE], "done", "all done"),
        (ended(137, oom_killed=True), [TEXT], "failed", "more memory"),
        (ended(137, disk=DiskEnd("bytes")), [TEXT], "failed", "more of the disk than the 20 GiB"),
        (ended(137, disk=DiskEnd("files")), [TEXT], "failed", "more than the 1,000,000 files"),
        (ended(137, disk=DiskEnd("depth")), [TEXT], "failed", "too deeply"),
        (ended(137, disk=DiskEnd("host")), [TEXT], "failed", "host, which is nearly full"),
        (ended(137, disk=DiskEnd("bytes")), [TEXT, DONE], "done", "all done"),
        (
            ended(0),
            [json.dumps({"type": "result", "subtype": "success", "result": ""}).encode()],
            "done",
            "without a word",
        ),
    ],
)
def test_what_the_person_reads(exit_, lines, outcome, words) -> None:
    result = judge(exit_, said(*lines), LIMITS)
    assert result.outcome == outcome
    assert words in result.text


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (DiskEnd("bytes", "bytes"), ["hold more than they may (20 GiB, 1,000,000 files)", "clean up"]),
        (DiskEnd("depth", "depth"), ["Begin a new conversation"]),
        (DiskEnd("host", None, 2), ["the largest 2 files were removed"]),
        (DiskEnd("host", "files", 1), ["the largest file was removed", "clean up"]),
        (DiskEnd("bytes"), []),
    ],
)
def test_what_stays_on_the_disk_is_noted(disk, words) -> None:
    notes = judge(ended(137, disk=disk), said(TEXT), LIMITS).notes
    assert bool(notes) == bool(words)
    assert all(word in " ".join(notes) for word in words)


@pytest.mark.parametrize("exit_", [ended(1), ended(143, timed_out=True), ended(137, oom_killed=True)])
def test_what_the_agent_said_before_it_failed_is_kept(exit_) -> None:
    assert "half way" in judge(exit_, said(TEXT), LIMITS).text
