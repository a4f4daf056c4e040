"""Archives of an answer's files: names that hurt nobody, and the same bytes each time."""

import io
import os
import zipfile

import pytest

from airut_gateway_email.packing import pack
from airut_gateway_email.replies import AttachedFile


def packed(*names: str) -> bytes:
    archive = pack([AttachedFile(name, "text/plain", b"x" * 5000) for name in names])
    assert archive is not None
    return archive.data


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a.txt", "b.txt"), ["a.txt", "b.txt"]),
        (("../../etc/cron.d/x",), ["_.._etc_cron.d_x"]),
        (("/etc/passwd", "C:\\x"), ["_etc_passwd", "C__x"]),
        (("..", ".", ""), ["file", "2-file", "3-file"]),
        (("a", "A", "a"), ["a", "2-A", "3-a"]),
        (("a\nb\u202etxt", "ä.txt"), ["a btxt", "ä.txt"]),
    ],
)
def test_names(names: tuple[str, ...], expected: list[str]) -> None:
    with zipfile.ZipFile(io.BytesIO(packed(*names))) as archive:
        assert archive.namelist() == expected
        assert archive.testzip() is None


def test_the_same_files_are_the_same_archive() -> None:
    assert packed("a", "b") == packed("a", "b")


def test_what_does_not_get_smaller_is_not_packed() -> None:
    assert pack([AttachedFile("a", "image/png", os.urandom(5000))]) is None
