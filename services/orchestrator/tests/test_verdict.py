import json

import pytest

from airut_orchestrator.agents.claude_code import ClaudeCode
from airut_orchestrator.transcript import Transcript
from airut_orchestrator.verdict import judge
from airut_sandbox.container import Exit


def ended(code: int = 0, *, timed_out=False, oom_killed=False, stderr=b"") -> Exit:
    return Exit(code, timed_out=timed_out, oom_killed=oom_killed, stopped=False, stderr_tail=stderr)


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
        (
            ended(0),
            [json.dumps({"type": "result", "subtype": "success", "result": ""}).encode()],
            "done",
            "without a word",
        ),
    ],
)
def test_what_the_person_reads(exit_, lines, outcome, words) -> None:
    result = judge(exit_, said(*lines), 600)
    assert result.outcome == outcome
    assert words in result.text


@pytest.mark.parametrize("exit_", [ended(1), ended(143, timed_out=True), ended(137, oom_killed=True)])
def test_what_the_agent_said_before_it_failed_is_kept(exit_) -> None:
    assert "half way" in judge(exit_, said(TEXT), 600).text
