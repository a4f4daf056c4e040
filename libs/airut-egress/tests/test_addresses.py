"""Only plainly public addresses may be dialled, whatever an allowed name resolves to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.addresses import embedded_ipv4, refusal

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:0808:0808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "198.20.0.1", "223.255.255.1",
          "2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888"]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_special_addresses_are_refused(text: str) -> None:
    """Row 7: loopback, private, CGNAT, link-local, ULA, multicast, 0/8, NAT64, 6to4, Teredo, mapped."""
    assert refusal(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text: str) -> None:
    assert refusal(ip_address(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "10.1.2.3",
        "127.0.0.1",
        "100.64.0.1",
        "fd00::1",
        "::1",
        "192.168.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::1.1.1.1",
    ],
)
def test_an_operator_can_open_private_ranges(text: str) -> None:
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert refusal(ip_address(text), everything) is None


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "2002:a9fe:a9fe::1",
    ],
)
def test_nobody_can_open_metadata(text: str) -> None:
    """Row 7: never overridable for 169.254/16, in no form."""
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"), ip_network("169.254.0.0/16"))
    assert refusal(ip_address(text), everything)


def test_opening_one_range_leaves_the_others_closed() -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("64:ff9b::/96"))
    assert refusal(ip_address("10.1.2.3"), networks) is None
    assert refusal(ip_address("10.2.0.1"), networks)
    assert refusal(ip_address("64:ff9b::8.8.8.8"), networks) is None
    assert refusal(ip_address("64:ff9b::10.2.0.1"), networks)
    assert refusal(ip_address("64:ff9b::10.1.0.1"), networks) is None


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_never_public(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert refusal(address)


@given(st.ip_addresses(v=4))
def test_transition_forms_are_refused_and_show_what_they_carry(address: IPv4Address) -> None:
    number = int(address)
    forms = (
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x64FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | (number << 80)),
        IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),
    )
    for form in forms:
        assert refusal(form)
        assert address in embedded_ipv4(form)
