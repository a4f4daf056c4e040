from hypothesis import given
from hypothesis import strategies as st

from airut_sandbox.git_progress import ProgressReader


def told(*chunks: bytes) -> list[str]:
    found: list[str] = []
    reader = ProgressReader(found.append)
    for chunk in chunks:
        reader.feed(chunk)
    return found


def test_the_last_whole_line_of_each_piece_is_told() -> None:
    assert told(
        b"remote: Enumerating objects: 5, done.\nReceiving objects:  20% (1/5)\rReceiving objects:  40% (2/5), 1.20 Mi",
        b"B | 3.00 MiB/s\rReceiving obj",
        b"ects: 100% (5/5), 12 bytes | 3.00 MiB/s, done.\nResolving deltas: 100% (9/9), done.\nFrom https://x\n",
    ) == ["receiving objects: 20 %", "receiving objects: 40 % (1.20 MiB)", "resolving deltas: 100 %"]


def test_the_words_of_the_remote_are_not_ours() -> None:
    assert told(b"remote: Receiving objects: 100% (1/1)\rfatal: Receiving objects: 1% (1/1)\n") == []


def test_numbers_of_any_length_are_no_progress() -> None:
    """What a remote says as its error is not marked as its own beyond the first line."""
    digits = b"9" * 500
    assert told(b"fatal: remote error: no\nReceiving objects: 1% (1/1), " + digits + b" MiB\n") == [
        "receiving objects: 1 %"
    ]


def test_a_line_without_an_end_is_not_kept() -> None:
    reader = ProgressReader(lambda _: None)
    for _ in range(100):
        reader.feed(b"x" * 100_000)
    assert len(reader._rest) < 1000


@given(st.lists(st.binary(max_size=200)))
def test_anything_may_come(chunks: list[bytes]) -> None:
    assert all(line.isprintable() for line in told(*chunks))
