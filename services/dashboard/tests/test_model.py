import pytest

from airut_common.contracts.v1 import PlanStep
from airut_dashboard.model import ReadModel


def test_a_task_appears_with_its_first_event_and_follows_its_states(state) -> None:
    model = ReadModel()
    model.apply(1, state(sender="ada@lovelace.example"))
    model.apply(2, state(state="running", at=3, sandbox="s1"))
    view = model.task("t1")
    assert view is not None
    assert (view.state, view.sender, view.subject) == ("running", "ada@lovelace.example", "Hello")


def test_a_network_event_may_come_before_the_task_is_known(state, request_event) -> None:
    model = ReadModel()
    model.apply(1, request_event())
    model.apply(2, state(at=5))
    view = model.task("t1")
    assert view is not None
    assert (view.conversation, view.requests, len(view.network)) == ("c1", 1, 1)


@pytest.mark.parametrize(
    ("kind", "decision", "counts"),
    [
        ("request", "allow", (1, 0)),
        ("request", "deny", (1, 1)),
        ("connection", "deny", (1, 1)),
        ("dns", "allow", (0, 0)),
        ("session", "info", (0, 0)),
        ("request", "info", (0, 0)),
    ],
)
def test_only_attempts_to_reach_something_are_counted(request_event, kind, decision, counts) -> None:
    model = ReadModel()
    model.apply(1, request_event(kind=kind, decision=decision))
    view = model.task("t1")
    assert view is not None
    assert (view.requests, view.denied) == counts


def test_a_request_is_under_way_until_its_end_takes_its_place(request_event) -> None:
    model = ReadModel()
    start = model.apply(1, request_event(decision="info", reason="started", request=7))
    other = model.apply(2, request_event(request=6))
    view = model.task("t1")
    assert [change.sequence for change in view.network] == [1, 2]
    assert (start.key, other.key) == (1, 2)
    end = model.apply(3, request_event(request=7))
    assert end.key == start.key
    assert [change.sequence for change in view.network] == [2, 3]
    assert (view.requests, view.under_way) == (2, {})


def test_a_restarted_proxy_numbers_anew_and_replaces_no_old_row(request_event) -> None:
    model = ReadModel()
    model.apply(1, request_event(decision="info", reason="started", request=0))
    model.apply(2, request_event(kind="session", decision="info", reason="opened"))
    assert model.apply(3, request_event(request=0)).key == 3
    assert [change.sequence for change in model.task("t1").network] == [1, 2, 3]


def test_requests_that_never_end_are_bounded(request_event) -> None:
    model = ReadModel()
    for number in range(5000):
        model.apply(number + 1, request_event(decision="info", reason="started", request=number))
    assert len(model.task("t1").under_way) == 4000


def test_a_late_event_does_not_bring_a_finished_task_back(state) -> None:
    model = ReadModel()
    model.apply(1, state(state="done"))
    model.apply(2, state(state="running", at=1))
    assert model.task("t1").state == "done"


def test_running_tasks_come_first_then_the_newest(state) -> None:
    model = ReadModel()
    model.apply(1, state("old", at=0, state="running"))
    model.apply(2, state("done1", at=10, state="done"))
    model.apply(3, state("done2", at=20, state="done"))
    assert [task.id for task in model.tasks()] == ["old", "done2", "done1"]


def test_memory_is_bounded_and_finished_tasks_are_forgotten_first(state) -> None:
    model = ReadModel(max_tasks=3)
    model.apply(1, state("running", at=0, state="running"))
    for number in range(10):
        model.apply(2 + number, state(f"done{number}", at=1 + number, state="done"))
    assert {task.id for task in model.tasks()} == {"running", "done8", "done9"}


def test_a_flood_of_output_keeps_the_newest(said) -> None:
    model = ReadModel()
    for number in range(5000):
        model.apply(number + 1, said(str(number), seq=number))
    view = model.task("t1")
    assert view is not None
    assert len(view.outputs) == 4000
    assert view.outputs[-1].entry.text == "4999"


def test_only_the_latest_progress_is_kept_and_a_plan_until_it_changes(state, progress) -> None:
    model = ReadModel()
    model.apply(1, state(state="running"))
    plan = (PlanStep(text="One", status="pending"),)
    model.apply(2, progress(activity="Bash: ls", plan=plan, plan_left_out=3))
    model.apply(3, progress(activity="Read: x"))
    view = model.task("t1")
    assert (view.activity, view.plan, view.plan_left_out) == ("Read: x", plan, 3)
    assert len(view.changes) == 1
    model.apply(4, state(state="done", at=9))
    assert (view.activity, view.plan) == ("", plan), "what it did is past, what it planned is not"


def test_a_merged_message_names_the_task_that_answers_it_and_is_done(state) -> None:
    model = ReadModel()
    model.apply(1, state("t1", place=1, waits_for="turn"))
    assert (model.task("t1").place, model.task("t1").waits_for) == (1, "turn")
    model.apply(2, state("t2"))
    model.apply(3, state("t2", state="merged", merged_into="t1"))
    model.apply(4, state("t2", state="merged", merged_into="t1"))
    model.apply(5, state("t1", state="running"))
    assert (model.task("t2").merged_into, model.task("t2").is_final) == ("t1", True)
    assert (model.task("t1").merged, model.task("t1").place) == (["t2"], None)
