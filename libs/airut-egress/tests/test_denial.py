"""What a sandbox is told: stable keys, bounded text, valid JSON whatever was asked."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.denial import MESSAGES, denial_body, denial_text


def body(**changes: str) -> dict[str, str]:
    values = {"obstacle": "host", "host": "a.example", "path": "/x?y", "method": "GET"} | changes
    return json.loads(denial_body(**values))


def test_a_denial_says_what_and_how_to_change_it() -> None:
    assert body() == {
        "error": "network_denied",
        "message": "The network allowlist has no rule for this host.",
        "host": "a.example",
        "path": "/x",
        "method": "GET",
        "obstacle": "host",
        "change": "To propose a change, edit .airut/network-allowlist.yaml in the repository, open a pull request, "
        "and run the task again when it is merged into the default branch.",
    }


@pytest.mark.parametrize("obstacle", MESSAGES)
def test_every_obstacle_has_its_message(obstacle: str) -> None:
    assert body(obstacle=obstacle)["message"] == MESSAGES[obstacle]
    assert body(obstacle=obstacle, detail="why")["message"] == f"{MESSAGES[obstacle]} (why)"


def test_only_the_allowlist_can_be_changed_by_a_pull_request() -> None:
    assert "change" in body(obstacle="method")
    assert "change" not in body(obstacle="credential")


@given(st.text(), st.text(), st.text(), st.text())
def test_hostile_text_stays_data(obstacle: str, host: str, path: str, method: str) -> None:
    """Row 37."""
    raw = denial_body(obstacle=obstacle[:20], host=host * 100, path=path * 1000, method=method * 100)
    assert len(raw) < 20_000
    assert set(raw.decode()) <= set(string.printable) - set("\r\n\t\x0b\x0c")
    json.loads(raw)


def test_the_same_as_text() -> None:
    message, change, rest = denial_text(obstacle="host").decode().split("\n")
    assert (message, change, rest) == (MESSAGES["host"], body()["change"], "")
    assert (
        denial_text(obstacle="token", detail="a\x1b[1m\n\xe9") == f"{MESSAGES['token']} (a?[1m\n?)\n".encode()
    )
