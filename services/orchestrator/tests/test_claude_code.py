import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_orchestrator.agents.claude_code import ClaudeCode

SESSION = "726758d2-12b9-435d-99dd-517dad65d3f8"
AGENT = ClaudeCode()


def read(**message):
    return AGENT.read_line(json.dumps(message).encode())


def test_row_82_the_exact_command_line() -> None:
    launch = AGENT.launch(resume=SESSION, model="opus", effort="high")
    assert list(launch.argv) == [
        "/opt/airut/agent/claude",
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        "--dangerously-skip-permissions",
        "--resume",
        SESSION,
        "--model",
        "opus",
        "--effort",
        "high",
    ]
    assert launch.environment["CLAUDE_CONFIG_DIR"] == "/agent"
    assert "--resume" not in AGENT.launch(resume=None, model=None, effort=None).argv


def test_init_gives_the_session() -> None:
    line = read(
        type="system", subtype="init", session_id=SESSION, model="claude-x", claude_code_version="2.1.330"
    )
    assert line.session == SESSION
    assert line.said[0].text == "started claude-x, Claude Code 2.1.330"


@pytest.mark.parametrize(
    "hostile", ["../../etc", "--help", "", 7, None, SESSION + "x", SESSION.upper(), ["a"]]
)
def test_a_session_id_that_is_none_is_not_taken_up(hostile) -> None:
    assert read(type="system", subtype="init", session_id=hostile).session is None


def test_blocks_of_an_assistant_message() -> None:
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "hello"},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
        {"type": "moon"},
    ]
    said = read(type="assistant", message={"content": content}).said
    assert [item.type for item in said] == ["thinking", "text", "tool_use", "unknown"]
    assert (said[2].tool, said[2].input) == ("Bash", {"command": "ls"})


def test_a_tool_result_as_text_or_as_blocks() -> None:
    blocks = [
        {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [{"type": "text", "text": "a"}, {"type": "image"}],
        }
    ]
    assert read(type="user", message={"content": blocks}).said[0].text == "a\n[image]"
    plain = [{"type": "tool_result", "tool_use_id": "t", "content": "no", "is_error": True}]
    assert read(type="user", message={"content": plain}).said[0].is_error


def test_the_result_with_what_it_cost() -> None:
    line = read(
        type="result",
        subtype="success",
        is_error=False,
        result="done",
        num_turns=3,
        duration_ms=1500,
        total_cost_usd=0.5,
        usage={"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 7},
    )
    assert (line.result, line.failed) == ("done", False)
    assert line.usage.model_dump() == {
        "duration_seconds": 1.5,
        "turns": 3,
        "input_tokens": 15,
        "output_tokens": 7,
        "cost_usd": 0.5,
    }


@pytest.mark.parametrize("bad", [True, "12", -1, 1e300, None, [], float("inf")])
def test_numbers_that_are_none_are_left_out(bad) -> None:
    line = read(
        type="result",
        subtype="success",
        result="x",
        total_cost_usd=bad,
        num_turns=bad,
        usage={"output_tokens": bad},
    )
    assert (line.usage.cost_usd, line.usage.turns, line.usage.output_tokens) == (None, None, None)


def test_a_result_with_an_error_says_so() -> None:
    line = read(type="result", subtype="error_during_execution", is_error=True, errors=["boom"])
    assert (line.failed, line.result) == (True, "boom")


@pytest.mark.parametrize("line", [b"", b"   ", b"\n"])
def test_an_empty_line_is_nothing(line) -> None:
    assert AGENT.read_line(line).said == ()


@pytest.mark.parametrize(
    "line",
    [b"garbage", b"\xff\xfe\x00", b"[1]", b'"x"', b"{", b"[" * 100_000, b'{"type":"new_kind"}', b"null"],
)
def test_row_79_what_is_not_understood_is_kept_and_never_fatal(line) -> None:
    found = AGENT.read_line(line)
    assert [item.type for item in found.said] == ["unknown"]
    assert len(found.said[0].text) <= 4096


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(
    ["type", "subtype", "message", "session_id", "result", "usage", "num_turns", "is_error", "errors"]
)
content = st.fixed_dictionaries({"content": json_values})


@given(
    st.dictionaries(keys, json_values | content, max_size=6),
    st.sampled_from(["system", "assistant", "user", "result"]),
)
def test_no_shape_of_a_message_raises(message, kind) -> None:
    AGENT.read_line(json.dumps(message | {"type": kind}).encode())


@given(st.binary(max_size=300))
def test_no_bytes_raise(line: bytes) -> None:
    AGENT.read_line(line)
