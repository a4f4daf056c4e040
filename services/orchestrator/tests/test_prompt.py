"""What the agent is told before a message."""

import pytest

from airut_common.testing.builders import task_request
from airut_orchestrator.prompt import BUILT_IN, BadPreamble, Preamble, build_prompt


def prompt(**values) -> str:
    options = {"inbox": (), "interrupted": False, "began_anew": False}
    request = task_request(
        **{key: value for key, value in values.items() if key not in {*options, "preamble"}}
    )
    chosen = {key: values.get(key, default) for key, default in options.items()}
    return build_prompt(request, values.get("preamble", BUILT_IN), **chosen).decode()


def test_the_prompt_says_who_asks_and_where_things_are() -> None:
    text = prompt(text="Fix it.", subject="Greeting", inbox=("a.txt", "b.txt"))
    for word in ("ada@lovelace.example", "by mail", "/workspace", "/outbox", "/storage", "a.txt, b.txt"):
        assert word in text
    assert text.endswith("Subject: Greeting\n\nFix it.")
    assert "interrupted" not in text


def test_the_prompt_says_what_happened_before() -> None:
    assert "interrupted" in prompt(interrupted=True)
    assert "not known here any more" in prompt(began_anew=True)
    assert "Subject:" not in prompt(subject="")


def test_a_repository_has_its_own_words() -> None:
    preamble = Preamble.parse(b"Be brief, ${sender} pays $$1 per word.\nThey wrote $channel.\n\n")
    text = prompt(preamble=preamble, text="Costs $5 and $sender.", inbox=("a.txt",))
    assert text.startswith(
        "Be brief, ada@lovelace.example pays $1 per word.\nThey wrote by mail.\n- /inbox holds"
    )
    assert text.endswith("Costs $5 and $sender.")
    assert "/outbox" not in text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"one\ntwo $nobody", "line 2: only $sender and $channel"),
        (b"costs $5", "line 1: only"),
        (b"ends in $", "line 1: only"),
        (b"one\n\nthree \xff", "line 3 is not UTF-8"),
    ],
)
def test_words_that_cannot_be_filled_in(data: bytes, said: str) -> None:
    with pytest.raises(BadPreamble) as raised:
        Preamble.parse(data)
    assert said in str(raised.value)
