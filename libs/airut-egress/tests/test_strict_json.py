"""Documents that cost more than they weigh (field notes 35)."""

import pytest

from airut_egress.strict_json import MAX_VALUES, BadJson, parse

MIB = 1024 * 1024


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"0,", b'"",', b"[0],"])
def test_row_35_more_values_than_anybody_needs_are_not_parsed(unit: bytes) -> None:
    count = MAX_VALUES + 1
    with pytest.raises(BadJson, match="more than 1000000 values"):
        parse(b"[" + unit * count + b"0]", max_depth=10)


def test_a_long_conversation_is_parsed() -> None:
    text = "A sentence, and another one; [brackets] and {braces} as code has them. " * 60_000
    body = ('{"messages": ["' + text + '"], "image": "' + "A" * 16 * MIB + '"}').encode()
    assert parse(body, max_depth=10)["messages"] == [text]


def test_as_many_values_as_there_may_be() -> None:
    assert len(parse(b"[" + b"0," * (MAX_VALUES - 1) + b"0]", max_depth=10)) == MAX_VALUES
