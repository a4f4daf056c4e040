"""What the kernel tells about a redirected connection."""

import socket
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from airut_egress.destination import original_destination, original_destination_6

PORTS = st.integers(0, 65535)


class Kernel:
    """Answers like a socket; a real one needs a redirection, and the tests with a namespace have that."""

    def __init__(self, level: int, answer: bytes) -> None:
        self.level = level
        self.answer = answer

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        assert (level, option, size) == (self.level, 80, len(self.answer))
        return self.answer


@given(address=st.ip_addresses(v=4), port=PORTS)
def test_an_ipv4_destination(address: IPv4Address, port: int) -> None:
    raw = socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2) + address.packed + bytes(8)
    assert original_destination(Kernel(socket.SOL_IP, raw)) == (str(address), port)


@given(
    address=st.ip_addresses(v=6),
    port=PORTS,
    flow=st.binary(min_size=4, max_size=4),
    scope=st.binary(min_size=4, max_size=4),
)
def test_row_6_an_ipv6_destination(address: IPv6Address, port: int, flow: bytes, scope: bytes) -> None:
    """Neither the flow nor the scope says where it went."""
    raw = socket.AF_INET6.to_bytes(2, "little") + port.to_bytes(2) + flow + address.packed + scope
    host, told = original_destination_6(Kernel(41, raw))
    assert (IPv6Address(host), told) == (address, port)
