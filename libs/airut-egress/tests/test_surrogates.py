"""Surrogates keep a credential's shape and say nothing else of it."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.surrogates import KNOWN_PREFIXES, BadCredential, surrogate

KEY = b"k" * 32
# Made up for these tests; none of them was ever valid anywhere.
VALUES = [
    "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6",
    "gho_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6",
    "ghs_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6",
    "ghr_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6",
    "github_pat_" + "11ABCDEFG0abcdefghijkl_" + "Zy9" * 19,
    "sk-ant-" + "api03-" + "Qw-_7" * 18 + "AA",
    "sk-" + "proj-" + "mN5pQ8sT1v" * 4,
    "xoxb-" + "123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx",
    "xoxp-" + "123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx",
    "glpat-" + "xYz_12-AbCdEfGhIjKlM",
    "AKIA" + "QWERTYUIOPASDFGH",
    "ASIA" + "QWERTYUIOPASDFGH",
    "0123456789abcdef0123456789abcdef01234567",
    "hunter2hunter2",
    "dXNlcjpwYXNzd29yZA==",
]


@pytest.mark.parametrize("value", VALUES)
def test_the_shape_is_kept(value: str) -> None:
    made = surrogate(KEY, "sandbox", "TOKEN", value)
    assert made != value
    assert len(made) == len(value)
    prefix = max((p for p in KNOWN_PREFIXES if value.startswith(p)), key=len, default="")
    assert made.startswith(prefix)
    for old, new in zip(value, made, strict=True):
        for alphabet in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
            assert (old in alphabet) == (new in alphabet)
        if not old.isalnum():
            assert new == old


def test_a_hexadecimal_value_stays_one() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", surrogate(KEY, "s", "T", "0123456789abcdef" * 2 + "01234567"))
    assert re.fullmatch(r"[0-9A-F]{16}", surrogate(KEY, "s", "T", "0123456789ABCDEF"))


def test_it_is_derived_and_new_for_every_sandbox_and_name() -> None:
    value = VALUES[0]
    made = surrogate(KEY, "sandbox", "TOKEN", value)
    assert surrogate(KEY, "sandbox", "TOKEN", value) == made
    others = {
        surrogate(KEY, "sandbox2", "TOKEN", value),
        surrogate(KEY, "sandbox", "TOKEN2", value),
        surrogate(b"x" * 32, "sandbox", "TOKEN", value),
        surrogate(KEY, "sandboxT", "OKEN", value),
    }
    assert len(others | {made}) == 5


def test_it_depends_on_the_shape_of_a_value_alone() -> None:
    """Two values of one shape have one surrogate, so it can tell nothing about either."""
    one, other = "ghp_abcDEF123abcDEF123", "ghp_zyxWVU987zyxWVU987"
    assert surrogate(KEY, "s", "T", one) == surrogate(KEY, "s", "T", other)


@pytest.mark.parametrize(
    "value", ["", "short", "1234567", "ghp_1234567", "sk-ant-abc", "--------------", "ghp_"]
)
def test_what_is_too_short_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(BadCredential, match="TOKEN is too short") as caught:
        surrogate(KEY, "s", "TOKEN", value)
    assert len(value) < 8 or value not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["abcdefgh1234\n", "abcdefgh\r\nX: y", "abcdefgh\x00", "pässwort1234", " abcdefgh12", "abcdefgh12 "],
)
def test_what_no_header_can_carry_is_refused(value: str) -> None:
    with pytest.raises(BadCredential, match="credential TOKEN"):
        surrogate(KEY, "s", "TOKEN", value)


@given(st.text(string.digits, min_size=8, max_size=8), st.binary(min_size=1, max_size=4))
def test_it_is_never_the_value_itself(value: str, key: bytes) -> None:
    assert surrogate(key, "s", "T", value) != value


@given(st.text())
def test_any_text_is_masked_or_refused(value: str) -> None:
    try:
        made = surrogate(KEY, "s", "T", value)
    except BadCredential:
        return
    assert made != value
    assert len(made) == len(value)
