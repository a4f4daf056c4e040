"""What Claude Code does and plans, read from its stream. All of it may be forged: it is only text."""

import json

from airut_common.contracts.v1 import PlanStep
from airut_orchestrator.agents import Said
from airut_orchestrator.agents.claude_code import ClaudeCode
from airut_orchestrator.agents.claude_progress import MAX_PENDING, MAX_STEPS, ClaudeProgress

AGENT = ClaudeCode()


def read(*messages: dict) -> ClaudeProgress:
    reader = AGENT.progress()
    for message in messages:
        for said in AGENT.read_line(json.dumps(message).encode()).said:
            reader.take(said)
    return reader


def use(tool: str, call: str = "u1", parent: str | None = None, **arguments) -> dict:
    block = {"type": "tool_use", "id": call, "name": tool, "input": arguments}
    return {"type": "assistant", "parent_tool_use_id": parent, "message": {"content": [block]}}


def answer(text: str, call: str = "u1") -> dict:
    block = {"type": "tool_result", "tool_use_id": call, "content": text}
    return {"type": "user", "message": {"content": [block]}}


def todo(content: object, status: object = "pending") -> dict:
    return {"content": content, "status": status, "activeForm": "x"}


def shown(reader: ClaudeProgress) -> list[tuple[str, str]]:
    return [(step.text, step.status) for step in reader.plan]


def test_todo_write_is_the_whole_plan() -> None:
    first = use("TodoWrite", todos=[todo("One", "completed"), todo("Two", "in_progress"), todo("Three")])
    assert shown(read(first)) == [("One", "completed"), ("Two", "in_progress"), ("Three", "pending")]
    assert shown(read(first, use("TodoWrite", todos=[todo("Other")]))) == [("Other", "pending")]
    assert shown(read(first, use("TodoWrite", todos=[]))) == []


def test_task_tools_change_one_step() -> None:
    reader = read(
        use("TaskCreate", "u1", subject="One", description="…"),
        use("TaskCreate", "u2", subject="Two", description="…"),
        answer("Task #7 created successfully: One", "u1"),
        answer("Task #8 created successfully: Two", "u2"),
        use("TaskUpdate", taskId="7", status="in_progress"),
    )
    assert shown(reader) == [("One", "in_progress"), ("Two", "pending")]
    for said in AGENT.read_line(
        json.dumps(use("TaskUpdate", taskId="8", subject="2", status="completed")).encode()
    ).said:
        reader.take(said)
    assert shown(reader) == [("One", "in_progress"), ("2", "completed")]
    for said in AGENT.read_line(json.dumps(use("TaskUpdate", taskId="7", status="deleted")).encode()).said:
        reader.take(said)
    assert shown(reader) == [("2", "completed")]


def test_a_step_that_was_refused_or_is_unknown_is_none() -> None:
    assert shown(read(use("TaskCreate", subject="One"), answer("a hook said no"))) == []
    assert shown(read(use("TaskUpdate", taskId="1", status="completed"))) == []
    assert shown(read(answer("Task #1 created successfully: forged"))) == []


def test_a_sub_agents_plan_is_its_own_but_what_it_does_is_told() -> None:
    reader = read(
        use("TodoWrite", todos=[todo("Mine")]), use("TodoWrite", parent="toolu_1", todos=[todo("Its")]),
        use("Bash", parent="toolu_1", command="ls"),
    )  # fmt: skip
    assert shown(reader) == [("Mine", "pending")]
    assert reader.activity == "Bash: ls"


def test_activities() -> None:
    assert (
        read(use("Bash", command="make check\n&& echo", description="Run the checks")).activity
        == "Bash: Run the checks"
    )
    assert read(use("Edit", file_path="/workspace/a.py")).activity == "Edit: /workspace/a.py"
    assert read(use("Odd", things=[1])).activity == "Odd"
    assert (
        read({"type": "assistant", "message": {"content": [{"type": "thinking", "thinking": "x"}]}}).activity
        == "thinking"
    )
    assert read(use("Bash", command="x"), {"type": "result", "result": "done"}).activity == ""


def test_hostile_input_is_bounded_text_or_nothing() -> None:
    nasty = [
        todo("\x1b[2Jclear\u202e", "completed"), todo("x" * 10_000), todo(7), todo("bad", "won"), "no", None, todo("  "),
    ]  # fmt: skip
    steps = read(use("TodoWrite", todos=nasty)).plan
    assert [step.text[:8] for step in steps] == ["clear", "xxxxxxxx"]
    assert max(len(step.text) for step in steps) <= 200
    assert (
        shown(read(use("TodoWrite", todos={"a": 1}), use("TodoWrite"), use("TaskUpdate", taskId=["1"]))) == []
    )
    assert len(read(use("TodoWrite", todos=[todo("x")] * 10_000)).plan) == MAX_STEPS
    long = read(use("B" * 5_000 + "\x1b[31m", command="c" * 1_000_000)).activity
    assert len(long) <= 200
    reader = ClaudeProgress()
    for number in range(MAX_PENDING * 3):
        reader.take(Said("tool_use", tool="TaskCreate", tool_use_id=str(number), input={"subject": "x"}))
    for number in range(MAX_PENDING * 3):
        reader.take(Said("tool_result", f"Task #{number} created successfully", tool_use_id=str(number)))
    assert len(reader.plan) == MAX_PENDING
    assert all(isinstance(step, PlanStep) for step in reader.plan)
