"""Each invariant is seen to break: a check that never fails would prove nothing."""

from dataclasses import replace
from email.message import EmailMessage

import pytest

from chaos.invariants import Task, check_log, check_order, check_replies, is_settled
from chaos.people import Accepted


def accepted(number: int, sender: str = "a@x") -> Accepted:
    return Accepted("t", number, f"<{number}@x>", sender)


def task(number: int, **changes: object) -> Task:
    whole = Task(
        id=f"task-{number}", conversation="c", position=number, state="done", merged_into=None,
        answers=f"<{number}@x>", sender="a@x", leased=False,
    )  # fmt: skip
    return replace(whole, **changes)


def answer(number: int, own: str = "") -> EmailMessage:
    mail = EmailMessage()
    mail["In-Reply-To"] = f"<{number}@x>"
    mail["Message-ID"] = own or f"<answer-{number}@airut>"
    return mail


MAILS = [accepted(1), accepted(2), accepted(3)]
TASKS = [task(1), task(2), task(3, merged_into="task-2", state="merged")]
ANSWERS = [answer(1), answer(3)]


def test_all_is_well() -> None:
    assert list(check_replies(MAILS, TASKS, ANSWERS)) == []
    assert list(check_order(MAILS, TASKS)) == []
    assert is_settled(MAILS, TASKS, ANSWERS)


def test_the_same_mail_twice_is_one_answer() -> None:
    assert list(check_replies(MAILS, TASKS, [*ANSWERS, answer(1)])) == []


BROKEN_REPLIES = {
    "no answer": (TASKS, [answer(1)], "t 3: 0 answers, not 1"),
    "two answers": (TASKS, [*ANSWERS, answer(1, "<other@airut>")], "t 1: 2 answers, not 1"),
    "an answer to what was merged": (TASKS, [*ANSWERS, answer(2)], "t 2: 1 answers, not 0"),
    "an answer to nobody": (TASKS, [*ANSWERS, answer(9)], "an answer to <9@x>, which nobody sent"),
    "a lost message": (TASKS[1:], ANSWERS, "t 1: accepted, and 0 tasks"),
    "two tasks": ([*TASKS, task(1, id="again")], ANSWERS, "t 1: accepted, and 2 tasks"),
    "no end": ([task(1, state="running"), *TASKS[1:]], ANSWERS, "task task-1 is still running"),
}


@pytest.mark.parametrize("what", BROKEN_REPLIES)
def test_a_broken_promise_is_told(what: str) -> None:
    tasks, mails, words = BROKEN_REPLIES[what]
    assert words in list(check_replies(MAILS, tasks, mails))
    if what in {"no answer", "a lost message", "no end"}:
        assert not is_settled(MAILS, tasks, mails)


def test_each_author_of_merged_messages_is_answered() -> None:
    mails = [accepted(1), accepted(2, "b@x")]
    tasks = [task(1), task(2, merged_into="task-1", state="merged", sender="b@x")]
    assert list(check_replies(mails, tasks, [answer(1), answer(2)])) == []
    assert list(check_replies(mails, tasks, [answer(2)])) == ["t 1: 0 answers, not 1"]


def test_another_order_and_another_conversation_are_told() -> None:
    assert "another order" in next(check_order(MAILS, [task(1), task(2, position=4), task(3)]))
    assert "2 conversations" in next(check_order(MAILS, [task(1), task(2, conversation="d"), task(3)]))


def test_what_agents_wrote_down_is_read() -> None:
    good = ["begin 1", "begin 1", "end 1", "begin 2", "end 2"]
    assert list(check_log("c", good)) == []
    assert list(check_log("c", [*good, "overlap"])) == ["c: two agents worked at once"]
    assert list(check_log("c", ["begin 2", "end 2", "begin 1"])) == ["c: worked on in the order [2, 1]"]
