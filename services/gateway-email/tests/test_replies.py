"""Replies as mails: in the thread, to the author alone, and with nothing of the agent's outside of its place."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airut_common.contracts.v1 import Reply, Usage
from airut_common.testing.builders import email_route, reply
from airut_gateway_email.outgoing import reply_subject
from airut_gateway_email.rawmail import parse_raw_mail
from airut_gateway_email.replies import AttachedFile, build_reply, count, duration, quotation
from airut_gateway_email.threads import find_conversation
from airut_mail_auth.addresses import BadAddress

ID, CONVERSATION = "a" * 32, "c" * 32


def _built(answer: Reply, *files: AttachedFile, notes: tuple[str, ...] = ()) -> EmailMessage:
    data = build_reply(answer, "airut.example", files, notes).data
    parsed = message_from_bytes(data, policy=SMTP)
    assert isinstance(parsed, EmailMessage)
    assert max(map(len, data.split(b"\r\n"))) <= 998
    parse_raw_mail(data)  # our own strict reader takes it: no bare line ends, no doubled headers
    return parsed


def _text(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return part.get_content().replace("\r\n", "\n")


def test_headers_of_a_reply():
    route = email_route(
        in_reply_to="<3@x.example>", references=("<1@x.example>", "<2@x.example>", "<3@x.example>")
    )
    message = _built(reply(id=ID, conversation=CONVERSATION, route=route))
    assert message["From"] == "Airut demo <demo@airut.example>"
    assert message["To"] == "ada@lovelace.example"
    assert message["Cc"] is None
    assert message["Subject"] == "Re: Please fix the greeting"
    assert message["Message-ID"] == f"<airut.{CONVERSATION}.{ID[:12]}@airut.example>"
    assert message["In-Reply-To"] == "<3@x.example>"
    assert message["References"].split() == ["<1@x.example>", "<2@x.example>", "<3@x.example>"]
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Date"]


def test_an_answer_to_the_reply_finds_the_conversation():
    built = build_reply(reply(id=ID, conversation=CONVERSATION), "airut.example", [], [])
    answer = parse_raw_mail(f"From: ada@lovelace.example\r\nIn-Reply-To: {built.message_id}\r\n\r\n".encode())
    assert find_conversation(answer, "airut.example") == CONVERSATION
    hint = _text(_built(reply(id=ID, conversation=CONVERSATION)), "plain")
    tag = hint[hint.index("[airut:") : hint.index("]") + 1]
    fresh = parse_raw_mail(f"From: ada@lovelace.example\r\nSubject: {tag}\r\n\r\n".encode())
    assert find_conversation(fresh, "airut.example") == CONVERSATION


def test_long_references_stay_readable():
    ids = tuple(f"<{'x' * 90}.{number}@mail.example>" for number in range(30))
    data = build_reply(
        reply(route=email_route(in_reply_to=ids[-1], references=ids)), "airut.example", [], []
    ).data
    head = data.partition(b"\r\n\r\n")[0]
    assert b"=?" not in head
    assert max(map(len, head.split(b"\r\n"))) < 200
    parsed = message_from_bytes(data, policy=SMTP)
    assert tuple(parsed["References"].split()) == ids


def test_text_html_and_footer():
    message = _built(
        reply(
            text="It says **Hello** now.\n\n```\nprint('x')\n```\n",
            notes=("note one", "refused: <b>link</b>"),
            usage=Usage(duration_seconds=65, turns=7, cost_usd=0.1234),
        ),
        notes=("note three",),
    )
    plain, html = _text(message, "plain"), _text(message, "html")
    for note in ("note one", "refused: <b>link</b>", "note three"):
        assert f"  * {note}\n" in plain
    assert "It says **Hello** now." in plain
    assert "\n-- \nAirut · demo · 1 min 5 s · 7 turns · $0.12\n" in plain
    assert "<strong>Hello</strong>" in html
    assert "refused: &lt;b&gt;link&lt;/b&gt;" in html
    assert "1 min 5 s · 7 turns · $0.12" in html
    assert "failed" not in plain


def test_the_footer_tells_tokens_and_leads_to_the_dashboard():
    usage = Usage(duration_seconds=8, turns=1, input_tokens=18_250, output_tokens=950, cost_usd=0.1)
    message = _built(reply(usage=usage, link="https://airut.example/tasks/t?a=1&b=2"))
    plain, html = _text(message, "plain"), _text(message, "html")
    summary = "Airut · demo · 8 s · 1 turn · 18.2k tokens in, 950 out · $0.10"
    assert f"\n-- \n{summary}\nhttps://airut.example/tasks/t?a=1&b=2\n" in plain
    assert summary in html
    assert '<a href="https://airut.example/tasks/t?a=1&amp;b=2">' in html
    assert "href" not in _text(_built(reply()), "html")
    assert "script" not in _text(_built(reply(link="javascript:alert(1)")), "html")


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (999, "999"), (1000, "1.0k"), (1_300_000, "1.3M")])
def test_counts_for_people(number: int, text: str):
    assert count(number) == text


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("failed", "failed"), ("stopped", "stopped"), ("timed_out", "too long"), ("interrupted", "interrupted"), ("refused", "not started")],
)  # fmt: skip
def test_what_went_wrong_comes_first(outcome: str, words: str):
    message = _built(reply(outcome=outcome))
    assert words in _text(message, "plain").splitlines()[0]
    assert words in _text(message, "html")


def test_attachments():
    message = _built(
        reply(),
        AttachedFile("result.csv", "text/csv", b"a,b\r\n1,2\n\xff"),
        AttachedFile("../../x\r\nBcc: y.bin", "nonsense", b"\x00\x01"),
        AttachedFile("page.html", "text/html", b"<p>x</p>"),
        AttachedFile("mail.eml", "message/rfc822", b"From: x\r\n\r\ny"),
        AttachedFile("Größe.txt", "text/plain; charset=x", b"x"),
    )
    files = [
        (part.get_filename(), part.get_content_type(), part.get_payload(decode=True))
        for part in message.iter_attachments()
    ]
    assert files == [
        ("result.csv", "text/csv", b"a,b\r\n1,2\n\xff"),
        (".._.._x Bcc: y.bin", "application/octet-stream", b"\x00\x01"),
        ("page.html", "text/html", b"<p>x</p>"),
        ("mail.eml", "application/octet-stream", b"From: x\r\n\r\ny"),
        ("Größe.txt", "application/octet-stream", b"x"),
    ]
    assert all(part.get_content_disposition() == "attachment" for part in message.iter_attachments())


@pytest.mark.parametrize(
    ("subject", "answer"),
    [
        ("Fix it", "Re: Fix it"),
        ("Re: Fix it", "Re: Fix it"),
        ("RE: AW: re: Fix it", "Re: Fix it"),
        ("", "Re: your mail"),
        ("Re: ", "Re: your mail"),
        ("x\r\nBcc: mallory@evil.example", "Re: x Bcc: mallory@evil.example"),
        ("x\x1b[2J\x00y", "Re: x[2Jy"),
        ("a\u202eb\u2028c", "Re: abc"),
        ("Größe", "Re: Größe"),
        ("x" * 5000, "Re: " + "x" * 200),
    ],
)
def test_row_37_subjects_stay_on_their_line(subject: str, answer: str):
    assert reply_subject(subject) == answer
    message = _built(reply(route=email_route(subject=subject)))
    assert message["Bcc"] is None
    assert message["Subject"] == answer


def test_row_37_terminal_escapes_are_stripped():
    message = _built(reply(text="a\x1b]0;title\x07b\x9b31mc\u202ed", notes=("n\x1b[1m\r\nFrom: x",)))
    for kind in ("plain", "html"):
        text = _text(message, kind)
        assert not {character for character in text if ord(character) < 32} - {"\n", "\t"}
        assert "\u202e" not in text
    assert "  * n[1m From: x\n" in _text(message, "plain")


@pytest.mark.parametrize(
    "recipient",
    ["", "ada", "ada@lovelace.example\r\nBcc: x@y.example", "ada@lovelace.example,x@y.example", "<ada@lovelace.example>", "a b@c.example"],
)  # fmt: skip
def test_a_recipient_that_is_none_is_refused(recipient: str):
    with pytest.raises(BadAddress):
        build_reply(reply(route=email_route(recipient=recipient)), "airut.example", [], [])


def test_hostile_thread_headers_are_dropped():
    message = _built(
        reply(route=email_route(in_reply_to="<x>\r\nBcc: y", references=("<ok@x>", "no\r\nBcc: z", "<é@x>")))
    )
    assert message["Bcc"] is None
    assert message["References"].split() == ["<ok@x>"]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=60), st.text(max_size=100))
def test_any_agent_text_makes_a_well_formed_mail(text: str, subject: str, name: str, note: str):
    message = _built(
        reply(text=text, notes=(note,), route=email_route(subject=subject)),
        AttachedFile(name, "image/png", b"x"),
    )
    assert set(message.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
        "X-Auto-Response-Suppress", "MIME-Version", "Content-Type",
    }  # fmt: skip


def test_the_same_reply_is_the_same_mail_to_the_byte():
    answer = reply()
    file = AttachedFile("a.bin", "application/x-out", b"x")
    first, second = (build_reply(answer, "airut.example", [file], []).data for _ in range(2))
    assert first == second
    changed = build_reply(answer.model_copy(update={"text": "else"}), "airut.example", [file], []).data
    assert _boundary(changed) != _boundary(first)


def _boundary(data: bytes) -> str | None:
    return message_from_bytes(data).get_boundary()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (65, "1 min 5 s"), (7380, "2 h 3 min")]
)
def test_durations(seconds: float, text: str):
    assert duration(seconds) == text


def test_the_question_stands_below():
    route = email_route(question="Fix <b>it</b>.\n\n\u202eNow.")
    message = _built(reply(route=route))
    assert _text(message, "plain").endswith("\n\nada@lovelace.example wrote:\n> Fix <b>it</b>.\n>\n> Now.\n")
    assert '<blockquote class="question">Fix &lt;b&gt;it&lt;/b&gt;.\n\nNow.</blockquote>' in _text(
        message, "html"
    )
    assert "wrote:" not in _text(_built(reply()), "plain")
    assert quotation("line\n" * 31 + "x" * 600) == ["line"] * 30 + ["…"]
    assert quotation("x" * 600) == ["x" * 500 + "…"]


def test_a_name_of_many_letters_arrives_whole():
    """RFC 2231: encoded, in pieces where it is long."""
    name = "Bericht über Größe – 報告書 " * 5 + ".pdf"
    message = _built(reply(), AttachedFile(name, "application/pdf", b"%PDF"))
    (part,) = message.iter_attachments()
    assert part.get_filename() == name
    data = part.as_bytes()
    assert b"filename*0*=utf-8''" in data or b"filename*=utf-8''" in data
