"""Row 68: known values vanish from text, in time that does not grow with their number, and are forgotten."""

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_common.redaction import REPLACEMENT, SHORTEST, Redactor
from airut_common.secrets import Secret


def redactor(*values: str) -> Redactor:
    made = Redactor()
    made.remember(map(Secret, values))
    return made


@pytest.mark.parametrize(
    ("values", "text", "clean"),
    [
        (["hunter2-hunter2"], "a hunter2-hunter2 b", "a [redacted] b"),
        (["hunter2"], "hunter2", "[redacted]"),
        (["hunter2"], "hunter2hunter2", "[redacted][redacted]"),
        (["hunter2", "hunter2-long"], "hunter2-long hunter2", "[redacted] [redacted]"),
        (["sk-ant-aaa", "sk-ant-bbb"], "sk-ant-bbb sk-ant-ccc", "[redacted] sk-ant-ccc"),
        (["aaaaab"], "aaaaaaaab", "aaa[redacted]"),
        (["short"], "a short one", "a short one"),
        ([], "nothing is known", "nothing is known"),
        (["secret"], "secre", "secre"),
        (["line one\nline two"], "it said: line two", "it said: [redacted]"),
    ],
)
def test_values_vanish(values: list[str], text: str, clean: str) -> None:
    assert redactor(*values).clean(text) == clean


@pytest.mark.parametrize("spell", [repr, json.dumps, lambda v: quote(v, safe=""), lambda v: repr([{"x": v}])])
def test_values_vanish_in_the_spellings_of_a_log(spell) -> None:
    value = 'p\u00e4ss "word"\\\n\twith/everything'
    assert "everything" not in redactor(value).clean(f"before {spell(value)} after")


def test_a_value_remembered_twice_is_forgotten_by_the_second() -> None:
    made = redactor("same-token", "same-token")
    made.forget([Secret("same-token")])
    assert made.clean("same-token") == REPLACEMENT
    made.forget([Secret("same-token")])
    assert made.clean("same-token") == "same-token"
    made.forget([Secret("same-token"), Secret("never-known")])
    assert made.clean("same-token") == "same-token"


def test_row_68_five_hundred_values_cost_what_one_costs() -> None:
    line = "GET /v1/messages sk-ant-api03-nothing-known key=sk-ant-api03 " * 8

    def seconds(count: int) -> float:
        made = redactor(
            *(
                f"sk-ant-api03-{base64.b32encode(bytes([n % 251, n // 251] * 10)).decode()}"
                for n in range(count)
            )
        )
        best = 1.0
        for _ in range(7):
            begun = time.perf_counter()
            for _ in range(50):
                made.clean(line)
            best = min(best, time.perf_counter() - begun)
        return best

    assert seconds(500) < 3 * seconds(1)


def test_row_68_remembering_and_forgetting_leaves_nothing() -> None:
    made = Redactor()
    for n in range(500):
        secret = Secret(f"token-{n:04}-é\nsecond line {n:04}")
        made.remember([secret])
        made.forget([secret])
    assert not made._times
    assert not made._lengths


@given(
    st.lists(st.text(alphabet='abé\n\\"', min_size=SHORTEST, max_size=12), max_size=4),
    st.text(alphabet='abé\n\\"', max_size=60),
    st.integers(0, 60),
)
def test_no_remembered_value_survives(values: list[str], text: str, at: int) -> None:
    made = redactor(*values)
    for value in values:
        cleaned = made.clean(text[:at] + value + text[at:])
        assert all(value not in piece for piece in cleaned.split(REPLACEMENT))
