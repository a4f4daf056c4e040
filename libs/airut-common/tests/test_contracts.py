"""Every exported message has a sample, and every sample is that message (field by field, so that it shows all)."""

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from airut_common.contracts import v1
from airut_common.contracts.v1 import (
    Message,
    Refused,
    SessionClosed,
    TaskEvent,
    TaskRequest,
    new_id,
    subjects,
)

SAMPLES = Path(v1.__file__).parent / "samples"
MESSAGES: dict[str, type[Message]] = {
    name: found
    for name in v1.__all__
    if isinstance(found := getattr(v1, name), type) and issubclass(found, Message) and found is not Message
}


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def test_each_message_has_a_sample_and_each_sample_a_message() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_sample_is_its_message_and_shows_every_field(name: str) -> None:
    message = MESSAGES[name].decode(sample(name))
    assert set(json.loads(sample(name))) == set(MESSAGES[name].model_fields)
    assert json.loads(message.encode()) == json.loads(sample(name))
    assert MESSAGES[name].decode(message.encode()) == message


@pytest.mark.parametrize("name", MESSAGES)
def test_readers_ignore_what_they_do_not_know(name: str) -> None:
    extended = json.loads(sample(name)) | {"added_later": {"x": 1}}
    assert MESSAGES[name].decode(json.dumps(extended).encode()) == MESSAGES[name].decode(sample(name))


@pytest.mark.parametrize("name", ["TaskStateChanged", "AgentOutput"])
def test_a_task_event_is_told_apart_by_its_kind(name: str) -> None:
    assert type(TypeAdapter(TaskEvent).validate_json(sample(name))) is MESSAGES[name]


def test_a_refusal_and_an_answer_are_told_apart() -> None:
    either = TypeAdapter(Refused | SessionClosed)
    assert isinstance(either.validate_json(sample("Refused")), Refused)
    assert isinstance(either.validate_json(sample("SessionClosed")), SessionClosed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repo", "Demo"),
        ("repo", "a.b"),
        ("repo", "*"),
        ("repo", ">"),
        ("repo", ""),
        ("repo", "a" * 41),
        ("repo", "-a"),
        ("repo", "demo\n"),
        ("id", "../x"),
        ("id", "a.b"),
        ("received_at", "2026-03-02T09:15:04"),
        ("text", "x" * (512 * 1024 + 1)),
        ("channel", "fax"),
    ],
)
def test_row_39_ids_are_of_a_fixed_alphabet_and_times_know_their_zone(field: str, value: str) -> None:
    with pytest.raises(ValidationError):
        TaskRequest.decode(json.dumps(json.loads(sample("TaskRequest")) | {field: value}).encode())


def test_messages_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Refused(code="x", text="y").code = "z"  # type: ignore[misc]


def test_ids_are_unguessable_and_fit_for_subjects() -> None:
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(value) == 32 and set(value) <= set("0123456789abcdef") for value in made)


def test_subjects_are_what_the_permissions_are_written_for() -> None:
    assert [
        subjects.task_requested("demo"),
        subjects.reply("email", "demo"),
        subjects.acknowledgement("email", "demo"),
        subjects.task_event("demo", "t"),
        subjects.egress_event("demo", "s"),
        subjects.service_event("x"),
        subjects.egress_service("local", "open"),
        subjects.dead_letter("AIRUT_TASKS"),
    ] == [
        "airut.v1.task.requested.demo",
        "airut.v1.reply.email.demo",
        "airut.v1.taken.email.demo",
        "airut.v1.event.task.demo.t",
        "airut.v1.event.egress.demo.s",
        "airut.v1.event.service.x",
        "airut.v1.svc.egress.local.open",
        "airut.v1.dead.AIRUT_TASKS",
    ]
