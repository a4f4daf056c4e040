"""Outlook's `winmail.dat` (MS-OXTNEF)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_gateway_email.content.mail import read_mail
from airut_gateway_email.content.winmail import unpack
from airut_gateway_email.rawmail import parse_raw_mail
from airut_mail_auth.testing.signing import plain_mail

BODY, RENDERING, TITLE, DATA = 0x0002800C, 0x00069002, 0x00018010, 0x0006800F


def _attribute(level: int, name: int, data: bytes) -> bytes:
    return struct.pack("<BII", level, name, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def _container(text: bytes, *files: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack("<IH", 0x223E9F78, 1)]
    if text:
        parts.append(_attribute(1, BODY, text + b"\0"))
    for name, data in files:
        parts += [
            _attribute(2, RENDERING, bytes(14)),
            _attribute(2, TITLE, name + b"\0"),
            _attribute(2, DATA, data),
        ]
    return b"".join(parts)


def _read(text: str, container: bytes):
    message = plain_mail(text)
    message.add_attachment(container, maintype="application", subtype="ms-tnef", filename="winmail.dat")
    return read_mail(parse_raw_mail(message.as_bytes()))


def test_its_files_are_the_mail_s_files():
    mail = _read("Fix it.\n", _container(b"Fix it.", (b"plan.pdf", b"%PDF"), (b"../../x\\y.txt", b"y")))
    assert mail.text == "Fix it."
    assert [(file.name, file.media_type, file.data) for file in mail.attachments] == [
        ("plan.pdf", "application/pdf", b"%PDF"),
        ("_.._x_y.txt", "text/plain", b"y"),
    ]


def test_its_text_is_the_mail_s_where_there_is_no_other():
    message = plain_mail("")
    message.set_content(_container(b"Fix it."), maintype="application", subtype="ms-tnef")
    assert read_mail(parse_raw_mail(message.as_bytes())).text == "Fix it."


@pytest.mark.parametrize(
    "data", [b"", b"x", _container(b"Fix it.", (b"a", b"b"))[:-1], _container(b"t") + b"\x02\0\0\0\0"]
)
def test_one_that_cannot_be_read_is_a_file(data: bytes):
    mail = _read("Fix it.\n", data)
    assert [(file.name, file.data) for file in mail.attachments] == [("winmail.dat", data)]


def test_a_flood_of_attributes_is_not_unpacked():
    assert unpack(_container(b"text") + _attribute(1, BODY, b"x") * 400_000) is None


@given(st.binary(max_size=200), st.integers(0, 100))
def test_hostile_ones_do_no_harm(junk: bytes, at: int):
    whole = _container(b"text", (b"name", b"data"))
    for data in (junk, whole[:at] + junk + whole[at:]):
        found = unpack(data)
        assert found is None or all(isinstance(content, bytes) for _, content in found.files)
