"""A secret shows itself nowhere but in `reveal()`."""

import copy
import json
import pickle

import pytest

from airut_common.secrets import Secret

VALUE = "correct-horse-battery"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        lambda s: f"{s}",
        lambda s: f"{s!r:>40}",
        lambda s: f"{s:>40}",
        lambda s: "%s %r" % (s, s),  # noqa: UP031
        lambda s: repr([s, {s: s}]),
        lambda s: str(ValueError(s)),
        lambda s: repr(dir(s)),
    ],
)
def test_it_is_not_shown(show) -> None:
    assert VALUE not in show(Secret(VALUE))


@pytest.mark.parametrize("act", [pickle.dumps, json.dumps, copy.deepcopy, vars])
def test_it_leaves_the_process_by_no_door(act) -> None:
    with pytest.raises(TypeError):
        act(Secret(VALUE))


def test_it_is_revealed_on_purpose_and_compares_by_value() -> None:
    assert Secret(VALUE).reveal() == VALUE
    assert Secret("é") == Secret("é")
    assert Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
