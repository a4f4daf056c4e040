from airut_common.contracts.v1 import utc_now
from airut_common.testing.builders import task_request
from airut_orchestrator import build_output
from airut_orchestrator.build_output import BuildOutput
from airut_orchestrator.database.store import QueuedTask


def told(*pieces: str) -> list:
    events: list = []
    task = QueuedTask(task_request(id="t"), "c", None, 1, None, utc_now())
    output = BuildOutput(task, events.append)
    for piece in pieces:
        output(piece)
    return events


def test_each_piece_is_an_event_of_the_task() -> None:
    one, two = told("STEP 1/2\n", "\n", "STEP 2/2\n")
    assert (one.task, one.conversation, one.type, one.text, one.seq) == ("t", "c", "build", "STEP 1/2\n", 0)
    assert (two.text, two.seq, two.truncated) == ("STEP 2/2\n", 1, False)


def test_a_build_that_never_stops_talking_is_cut() -> None:
    events = told(*["x" * 1000] * 100)
    assert sum(len(event.text) for event in events) == build_output.MAX_CHARACTERS
    assert [event.truncated for event in events] == [False] * (len(events) - 1) + [True]
    assert len(told(*["y"] * 2000)) == build_output.MAX_EVENTS
