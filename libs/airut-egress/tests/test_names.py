"""One canonical form per name, and no address that passes for one."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.names import AddressLiteral, BadName, canonical_host, is_address_literal


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        (b"example.com", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("bücher.example".encode(), "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("example\u3002com", "example.com"),
        ("ｅｘａｍｐｌｅ．com", "example.com"),
        ("localhost", "localhost"),
        ("my_bucket.s3.example", "my_bucket.s3.example"),
        ("r4---sn-abc.video.example", "r4---sn-abc.video.example"),
        ("1.2.3.4.nip.example", "1.2.3.4.nip.example"),
        ("3com.example", "3com.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_one_name_has_one_form(raw: str | bytes, canonical: str) -> None:
    """Row 12: case, trailing dot, U-label and A-label are one name."""
    assert canonical_host(raw) == canonical
    assert canonical_host(canonical) == canonical


@pytest.mark.parametrize(
    "raw",
    [
        "",
        ".",
        "..",
        "example..com",
        ".example.com",
        "example.com..",
        "example.com\x00.allowed.example",
        "example.com\r\nX: y",
        "user@example.com",
        "example.com/",
        "exa mple.com",
        " example.com",
        "example%2ecom",
        "example.com%00",
        "*.example.com",
        "-example.com",
        "example-.com",
        "a" * 64 + ".example",
        ".".join(["a" * 63] * 4) + ".example",
        "ü" * 300 + ".example",
        b"ex\xff.example",
        "exam\u200bple\u0000.com",
        "a\ud800.example",
        "💩\u202e.example\u0000",
    ],
)
def test_what_is_no_name_is_refused(raw: str | bytes) -> None:
    """Row 12: NUL, user info, escapes and empty labels are no names."""
    with pytest.raises(BadName):
        canonical_host(raw)


LITERALS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "0",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0.0.1",
    "0x",
    "017700000001",
    "0177.0.0.1",
    "1.2.3.256",
    "1.2.3.4.5",
    "example.1",
    "::1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "::ffff:127.0.0.1",
    "[fe80::1%25eth0]",
    "fe80::1%eth0",
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.0.0.1",
]


@pytest.mark.parametrize("raw", LITERALS)
def test_addresses_in_any_notation_are_no_names(raw: str) -> None:
    """Row 2: disguised addresses are told from names before anything is compared."""
    with pytest.raises(AddressLiteral):
        canonical_host(raw)


@pytest.mark.parametrize("name", ["example.com", "0x7f.example", "1.example", "a.b.c1", "0xg"])
def test_names_with_digits_are_not_addresses(name: str) -> None:
    assert not is_address_literal(name)


@given(st.ip_addresses())
def test_every_address_is_recognised(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert is_address_literal(str(address))
    assert is_address_literal(f"[{address}]")


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_every_number_is_an_address(number: int) -> None:
    for text in (str(number), hex(number), f"0{number:o}"):
        assert is_address_literal(text)


@given(st.text() | st.binary())
def test_any_text_has_a_stable_form_or_none(raw: str | bytes) -> None:
    try:
        name = canonical_host(raw)
    except BadName:
        return
    assert canonical_host(name) == name
    assert canonical_host(name.upper() + ".") == name
    assert name.isascii()
    assert len(name) <= 253
