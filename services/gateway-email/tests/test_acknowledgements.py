"""The short mail that says that a message was taken."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from airut_common.testing.builders import acknowledgement, email_route, reply
from airut_gateway_email.acknowledgements import build_acknowledgement
from airut_gateway_email.loops import automatic_reason
from airut_gateway_email.rawmail import parse_raw_mail
from airut_gateway_email.replies import build_reply
from airut_gateway_email.threads import find_conversation
from airut_mail_auth.addresses import BadAddress

ID, CONVERSATION = "a" * 32, "c" * 32


def _built(**values) -> EmailMessage:
    taken = acknowledgement(id=ID, conversation=CONVERSATION, **values)
    data = build_acknowledgement(taken, "airut.example").data
    parse_raw_mail(data)
    parsed = message_from_bytes(data, policy=SMTP)
    assert isinstance(parsed, EmailMessage)
    return parsed


def test_it_stands_in_the_thread_and_says_that_no_person_wrote_it():
    route = email_route(in_reply_to="<2@x.example>", references=("<1@x.example>", "<2@x.example>"))
    message = _built(route=route, created_at=datetime(2026, 3, 2, 9, 15, tzinfo=UTC))
    assert message["From"] == "Airut demo <demo@airut.example>"
    assert message["To"] == "ada@lovelace.example"
    assert message["Subject"] == "Re: Please fix the greeting"
    assert message["In-Reply-To"] == "<2@x.example>"
    assert message["References"].split() == ["<1@x.example>", "<2@x.example>"]
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Date"] == "Mon, 02 Mar 2026 09:15:00 +0000"
    assert automatic_reason(
        parse_raw_mail(message.as_bytes()),
        mail_from="x@y.example",
        own_author=False,
        hostname="airut.example",
    )


@pytest.mark.parametrize(
    ("waits_for", "place", "words"),
    [
        (None, 1, None),
        (
            "turn",
            2,
            "It waits at place 2 of its conversation: an earlier one of the conversation is at work.",
        ),
        ("slot", 1, "It waits at place 1 of its conversation: as many tasks are at work as may be."),
    ],
)
def test_it_tells_what_the_message_waits_for(waits_for: str | None, place: int, words: str | None):
    text = _built(waits_for=waits_for, place=place, link="https://airut.example/tasks/t").get_content()
    lines = text.replace("\r\n", "\n").split("\n")
    assert lines[0] == "Your message was taken and will be worked on. The answer comes as a mail of its own."
    assert [line for line in lines if line.startswith("It waits")] == ([words] if words else [])
    foot = lines[lines.index("-- ") :]
    assert foot[1:3] == ["Airut · demo", "https://airut.example/tasks/t"]
    assert f"[airut:{CONVERSATION}]" in foot[3]


def test_an_answer_to_it_finds_the_conversation():
    own = _built()["Message-ID"]
    answer = parse_raw_mail(f"From: ada@lovelace.example\r\nIn-Reply-To: {own}\r\n\r\n".encode())
    assert find_conversation(answer, "airut.example") == CONVERSATION


def test_a_retry_is_the_same_mail_and_the_answer_is_another_one():
    taken = acknowledgement(id=ID, conversation=CONVERSATION)
    one, again = (build_acknowledgement(taken, "airut.example") for _ in range(2))
    assert one == again
    answer = build_reply(reply(id=ID, conversation=CONVERSATION), "airut.example", [], [])
    assert len(answer.message_id) == len(one.message_id)
    assert answer.message_id != one.message_id


def test_only_a_link_to_the_web_is_shown():
    assert "script" not in _built(link="javascript:alert(1)").get_content()


def test_a_route_without_an_address_is_an_error():
    with pytest.raises(BadAddress):
        _built(route=email_route(recipient="nobody"))
