"""What is printed cannot steer the terminal, and shows no real value."""

import email
import email.policy

import pytest

from airut_demo.transcript import Transcript
from airut_demo.world.mail_user import compose

REAL = "ghp_the-real-value-that-is-never-printed"


def test_hostile_text_is_made_visible(capsys: pytest.CaptureFixture[str]) -> None:
    transcript = Transcript()
    transcript.step("a \x1b[31mred\x1b[0m step [bold]not markup[/bold]")
    mail = compose(
        sender="a@x.example", recipient="b@x.example", subject="s", text="one \x1b]0;title\x07\ntwo"
    )
    transcript.mail(email.message_from_bytes(mail, policy=email.policy.default))
    event = {"kind": "request", "decision": "deny", "status": 403, "method": "GET", "scheme": "https"}
    event |= {"host": "x\x1b[2J.example", "path": "/[red]", "credentials": [], "reason": "host", "port": 443}
    transcript.network([event, event | {"kind": "connection", "status": None}, event | {"kind": "dns"}])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "[bold]not markup[/bold]" in printed
    assert "/[red]" in printed
    assert printed.count("deny") == 2


def test_secrets_are_shown_by_their_beginning_only(capsys: pytest.CaptureFixture[str]) -> None:
    Transcript().secrets([("TOKEN", "ghp_a-surrogate", REAL, True), ("KEY", "", REAL, False)])
    printed = capsys.readouterr().out
    assert "ghp_a-surrogate" in printed
    assert REAL[:12] not in printed


def test_the_end_names_what_was_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    Transcript().end([])
    assert "everything was as it must be" in capsys.readouterr().out
    Transcript().end(["no answer\nthe log says so"])
    printed = capsys.readouterr().out
    assert "Not everything" in printed
    assert "no answer" in printed
    assert "the log says so" in printed
