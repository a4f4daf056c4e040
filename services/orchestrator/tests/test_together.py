"""Which messages become one run, and who gets its answer."""

import pytest

from airut_common.contracts.v1 import BlobRef, TaskRequest
from airut_common.testing.builders import email_route, reply, task_request
from airut_orchestrator import together
from airut_orchestrator.together import answer_all, how_many_together


def message(text: str = "x", files: int = 0, size: int = 1) -> TaskRequest:
    ref = BlobRef(blob="b", name="n", size_bytes=size, sha256="0" * 64)
    return task_request(text=text, conversation="c", attachments=(ref,) * files)


BIG = "x" * (together.MAX_TEXT_BYTES - 1)
CASES = {
    "nothing waits": ([], 0),
    "one": ([message()], 1),
    "a few": ([message()] * 5, 5),
    "too many": ([message()] * 25, together.MAX_MESSAGES),
    "a long one goes alone": ([message(BIG + "xx"), message()], 1),
    "up to the limit of text": ([message(BIG), message("x"), message("x")], 2),
    "bytes count, not characters": (
        [message("x"), message("\N{GRINNING FACE}" * (together.MAX_TEXT_BYTES // 4))],
        1,
    ),
    "too many files": ([message(files=together.MAX_FILES), message(files=1)], 1),
    "too large files": ([message(files=1, size=together.MAX_FILE_BYTES), message(files=1)], 1),
    "not across a stop": ([message(), message(), message("Stop!"), message()], 2),
    "a stop alone": ([message("stop"), message()], 1),
    "a stop beyond the limit": ([*[message()] * 20, message("stop")], 20),
}


@pytest.mark.parametrize("case", CASES)
def test_how_many_go_together(case: str) -> None:
    waiting, expected = CASES[case]
    assert how_many_together(waiting) == expected


def ask(name: str, author: str, **route) -> TaskRequest:
    return task_request(
        id=name, sender=author, route=email_route(recipient=author, in_reply_to=f"<{name}@x>", **route)
    )


def test_one_author_gets_one_answer_to_the_last_message() -> None:
    requests = [ask("a", "ada@x.example"), ask("b", "ada@x.example")]
    (answer,) = answer_all(reply(id="a", text="done"), requests)
    assert (answer.id, answer.route, answer.text) == ("a", requests[1].route, "done")


def test_each_author_gets_one_answer_to_the_own_last_message_and_nobody_else_any() -> None:
    requests = [
        ask("a", "ada@x.example"), ask("b", "bob@x.example"), ask("c", "ada@x.example"), ask("d", "bob@x.example"),
    ]  # fmt: skip
    answers = answer_all(reply(id="a", route=email_route(recipient="eve@x.example")), requests)
    assert [(answer.id, answer.route) for answer in answers] == [
        ("a", requests[2].route),
        ("b", requests[3].route),
    ]


def test_an_author_who_wrote_to_two_addresses_is_answered_from_both() -> None:
    requests = [ask("a", "ada@x.example"), ask("b", "ada@x.example", from_address="demo+opus@airut.example")]
    assert [answer.id for answer in answer_all(reply(id="a"), requests)] == ["a", "b"]
