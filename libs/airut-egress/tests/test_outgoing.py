"""Headers as they go out, and upgrades (field notes 15, 17)."""

import pytest

from airut_egress.addons.outgoing import outgoing_headers, upgrade_problem
from airut_egress.interception.authority_form import read_authority
from airut_egress.names import AddressLiteral, BadName


def test_what_belongs_to_one_connection_stays() -> None:
    headers = [
        (b"Host", b"x"), (b"Connection", b"close, X-Hop , content-length"), (b"X-Hop", b"1"), (b"Keep-Alive", b"5"),
        (b"TE", b"trailers"), (b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"x"), (b"Proxy-Authorization", b"x"),
        (b"Content-Length", b"3"), (b"Accept", b"*/*"), (b"Accept", b"text/html"),
    ]  # fmt: skip
    assert outgoing_headers(headers, websocket=False) == [
        (b"Content-Length", b"3"), (b"Accept", b"*/*"), (b"Accept", b"text/html"), (b"Connection", b"close"),
        (b"te", b"trailers"),
    ]  # fmt: skip


def test_keep_alive_is_said_again() -> None:
    assert outgoing_headers([(b"connection", b"Keep-Alive")], websocket=False) == [
        (b"Connection", b"keep-alive")
    ]
    assert outgoing_headers([(b"te", b"gzip")], websocket=False) == []


def test_a_websocket_keeps_its_upgrade_and_no_compression() -> None:
    headers = [
        (b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"WebSocket"), (b"Sec-WebSocket-Key", b"k"),
        (b"Sec-WebSocket-Extensions", b"permessage-deflate"),
    ]  # fmt: skip
    assert upgrade_problem("GET", "HTTP/1.1", headers) == (True, None)
    assert outgoing_headers(headers, websocket=True) == [
        (b"Sec-WebSocket-Key", b"k"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "version", "value"),
    [
        ("GET", "HTTP/1.1", b"h2c"), ("GET", "HTTP/1.1", b"websocket, h2c"), ("GET", "HTTP/1.1", b""),
        ("POST", "HTTP/1.1", b"websocket"), ("GET", "HTTP/1.0", b"websocket"), ("GET", "HTTP/2.0", b"websocket"),
        ("GET", "HTTP/1.1", b"TLS/1.0"), ("GET", "HTTP/1.1", b"websocket/13"),
    ],
)  # fmt: skip
def test_every_other_upgrade_is_a_problem(method: str, version: str, value: bytes) -> None:
    assert upgrade_problem(method, version, [(b"Upgrade", value)])[1] is not None


def test_no_upgrade_is_no_problem() -> None:
    assert upgrade_problem("GET", "HTTP/1.1", [(b"A", b"b\tc")]) == (False, None)


@pytest.mark.parametrize("bad", [b"\x00", b"\r", b"\n", b"\x0b", b"\x7f"])
def test_control_characters_are_a_problem(bad: bytes) -> None:
    assert upgrade_problem("GET", "HTTP/2.0", [(b"a", b"x" + bad)])[1]
    assert upgrade_problem("GET", "HTTP/2.0", [(b"a" + bad, b"x")])[1]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b"A.Test", ("a.test", None)), (b"a.test:443", ("a.test", 443)), (b"a.test.:80", ("a.test", 80))],
)
def test_an_authority_is_read(raw: bytes, expected: tuple[str, int | None]) -> None:
    assert read_authority(raw) == expected


@pytest.mark.parametrize(
    "raw", [b"1.2.3.4", b"[::1]:443", b"[::1", b"0x7f.1:80", b"2130706433", b"1.2.3.4.:80"]
)
def test_an_address_is_told_from_a_name(raw: bytes) -> None:
    with pytest.raises(AddressLiteral):
        read_authority(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b":443",
        b"a.test:",
        b"a.test:x",
        b"a.test:+1",
        b"a.test:123456",
        b"u@a.test",
        b"a.test:1:2",
        b"a b",
        b"a.test/",
    ],
)
def test_what_is_not_an_authority(raw: bytes) -> None:
    with pytest.raises(BadName):
        read_authority(raw)
