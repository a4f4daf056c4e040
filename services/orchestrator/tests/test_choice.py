"""What a message may ask for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_common.config.models import AgentConfig
from airut_common.contracts.v1 import EmailEvidence, EmailRoute, TaskRequest, new_id, utc_now
from airut_orchestrator.choice import Choice, choose, read_hints
from airut_orchestrator.database.store import QueuedTask
from airut_orchestrator.failures import TaskFailure


def task(text: str, model: str | None = None) -> QueuedTask:
    request = TaskRequest(
        id=new_id(), repo="demo", channel="email", sender="ada@example.org", text=text, model=model,
        evidence=EmailEvidence(method="dmarc", domain="example.org", detail="", rule=""),
        route=EmailRoute(recipient="ada@example.org", from_address="demo@airut.example", subject=""),
        received_at=utc_now(),
    )  # fmt: skip
    return QueuedTask(request, new_id(), None, 1, None, utc_now())


@pytest.mark.parametrize(
    ("text", "hints", "rest"),
    [
        ("model: opus\nDo it.", {"model": "opus"}, "Do it."),
        ("Model : opus\r\nEFFORT:high\r\n\r\nDo it.", {"model": "opus", "effort": "high"}, "Do it."),
        ("Do it.\nmodel: opus", {}, "Do it.\nmodel: opus"),
        ("model: opus or sonnet?", {}, "model: opus or sonnet?"),
        ("model: a\nmodel: b\nDo it.", {"model": "a"}, "model: b\nDo it."),
        ("model: opus\n\n  ", {"model": "opus"}, "model: opus\n\n  "),
        ("", {}, ""),
    ],
)
def test_hints_are_first_lines(text: str, hints: dict[str, str], rest: str) -> None:
    assert read_hints(text) == (hints, rest)


@given(st.text())
def test_what_is_no_hint_stays(text: str) -> None:
    hints, rest = read_hints(text)
    assert hints or rest.strip() == text.strip() or rest == text.lstrip("\r\n")
    assert text.endswith(rest)


LIMITED = AgentConfig(model="sonnet", models=("opus",), effort="low")


@pytest.mark.parametrize(
    ("text", "model", "config", "choice"),
    [
        ("x", None, AgentConfig(), Choice(None, None)),
        ("x", None, LIMITED, Choice("sonnet", "low")),
        ("x", "opus", LIMITED, Choice("opus", "low")),
        ("model: sonnet\neffort: XHIGH\nx", "opus", LIMITED, Choice("sonnet", "xhigh")),
        ("model: anything\nx", None, AgentConfig(model="sonnet"), Choice("anything", None)),
    ],
)
def test_the_message_comes_first(text: str, model: str | None, config: AgentConfig, choice: Choice) -> None:
    changed, found = choose(task(text, model), config)
    assert found == choice
    assert changed.request.text == "x"


@pytest.mark.parametrize(
    ("text", "model", "said"),
    [
        ("model: haiku\nx", None, "no model `haiku`. You can ask for `opus`."),
        ("x", "haiku", "no model `haiku`"),
        ("effort: heroic\nx", None, "no effort `heroic`. You can ask for `low`, `medium`, `high`, `xhigh`, `max`."),
        ("model: `rm`\x1b\nx", None, "no model `rm`"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_there_is(text: str, model: str | None, said: str) -> None:
    with pytest.raises(TaskFailure) as raised:
        choose(task(text, model), LIMITED)
    assert said in raised.value.text
    assert raised.value.outcome == "refused"


def test_of_several_messages_the_last_that_says_something_decides() -> None:
    first, *later = [
        task("model: nonsense\neffort: low\nOne."), task("Two.", model="opus"), task("effort: high\nThree."), task("Four.")
    ]  # fmt: skip
    together = replace(first, merged=tuple(found.request for found in later))
    chosen, choice = choose(together, AgentConfig(models=("opus",)))
    assert choice == Choice("opus", "high")
    assert [request.text for request in chosen.requests] == ["One.", "Two.", "Three.", "Four."]
