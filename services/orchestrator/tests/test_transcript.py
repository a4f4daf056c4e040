import json

from airut_common.contracts.v1 import AgentOutput
from airut_orchestrator.agents.claude_code import ClaudeCode
from airut_orchestrator.transcript import ANSWER_BYTES, LEFT_OUT, MAX_EVENT_BYTES, MAX_EVENTS, Transcript


def transcript(events: list[AgentOutput]) -> Transcript:
    return Transcript(
        ClaudeCode(), events.append, said=lambda _: None, repo="demo", task="t", conversation="c"
    )


def line(**message) -> bytes:
    return json.dumps(message).encode()


def test_events_count_from_zero_and_the_answer_is_the_result() -> None:
    events: list[AgentOutput] = []
    said = transcript(events)
    said.prompt("please")
    said.take(line(type="assistant", message={"content": [{"type": "text", "text": "working"}]}))
    said.take(line(type="result", subtype="success", result="done"))
    assert [(event.seq, event.type) for event in events] == [(0, "prompt"), (1, "text"), (2, "result")]
    assert said.answer == "done"


def test_without_a_result_the_last_words_are_kept() -> None:
    said = transcript([])
    said.take(line(type="assistant", message={"content": [{"type": "text", "text": "half way"}]}))
    assert (said.result, said.answer) == (None, "half way")


def test_row_44_a_flood_is_bounded_and_the_result_still_told() -> None:
    events: list[AgentOutput] = []
    said = transcript(events)
    for _ in range(MAX_EVENTS + 100):
        said.take(b"noise")
    assert said.not_understood == MAX_EVENTS + 100
    said.take(line(type="result", subtype="success", result="done"))
    assert [event.text for event in events[MAX_EVENTS:]] == [LEFT_OUT, "done"]
    assert [event.seq for event in events] == list(range(MAX_EVENTS + 2))


def test_row_44_a_flood_of_large_lines_is_bounded_by_its_bytes() -> None:
    events: list[AgentOutput] = []
    said = transcript(events)
    big = line(type="assistant", message={"content": [{"type": "text", "text": "x" * 60_000}]})
    for _ in range(1_000):
        said.take(big)
    assert sum(len(event.encode()) for event in events) < MAX_EVENT_BYTES + 100_000


def test_long_texts_and_inputs_are_cut_and_say_so() -> None:
    events: list[AgentOutput] = []
    said = transcript(events)
    big = "ü" * 100_000
    blocks = [{"type": "text", "text": big}, {"type": "tool_use", "name": "x" * 999, "input": {"a": big}}]
    said.take(line(type="assistant", message={"content": blocks}))
    assert all(event.truncated for event in events)
    assert all(len(event.encode()) < 100_000 for event in events)
    said.take(line(type="result", subtype="success", result="y" * 300_000))
    assert len(said.answer) < ANSWER_BYTES + 100


def test_an_answer_is_cut_between_characters() -> None:
    said = transcript([])
    said.take(line(type="result", subtype="success", result="ü" * 300_000))
    assert ANSWER_BYTES - 2 <= len(said.answer.partition("\n")[0].encode()) <= ANSWER_BYTES
    assert "cut here" in said.answer


def test_a_lone_surrogate_does_not_stop_the_stream() -> None:
    events: list[AgentOutput] = []
    said = transcript(events)
    said.take(
        b'{"type":"assistant","message":{"content":[{"type":"text","text":"\\ud800"},'
        b'{"type":"tool_use","name":"Bash","input":{"command":"\\udfff"}}]}}'
    )
    for event in events:
        assert AgentOutput.decode(event.encode()) == event
