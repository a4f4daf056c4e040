"""Which addresses an allowed name may lead to. Everything that is not plainly public is refused (field notes 7)."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Never reachable, whatever the operator opens: cloud metadata services live here.
_NEVER: Final[tuple[tuple[Network, str], ...]] = (
    (IPv4Network("169.254.0.0/16"), "link-local, where cloud metadata services answer"),
    (IPv4Network("100.100.100.200/32"), "a cloud metadata service"),
    (IPv4Network("168.63.129.16/32"), "a cloud metadata service"),
    (IPv4Network("192.0.0.192/32"), "a cloud metadata service"),
    (IPv6Network("fd00:ec2::254/128"), "a cloud metadata service"),
    (IPv6Network("fd20:ce::254/128"), "a cloud metadata service"),
)

_NAMED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this network"),
        ("127.0.0.0/8", "loopback"),
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("100.64.0.0/10", "shared by carriers (CGNAT)"),
        ("198.18.0.0/15", "for benchmarks, and our synthetic answers"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("64:ff9b::/96", "a NAT64 form of an IPv4 address"),
        ("64:ff9b:1::/48", "a NAT64 form of an IPv4 address"),
        ("2001::/32", "Teredo"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "unique local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
# IANA has given out nothing else for global unicast, so nothing else is public.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")


def refusal(ip: Address, allow_networks: Sequence[Network] = ()) -> str | None:
    """Why an address must not be dialled; None when it may.

    `allow_networks` are the operator's own: they open private ranges, never those of metadata services. An
    address that carries an IPv4 address inside needs both to be allowed.
    """
    if why := _within(ip, _NEVER):
        return why
    inner = embedded_ipv4(ip)
    for address in inner:
        if why := _within(address, _NEVER):
            return f"{_within(ip, _NAMED)}: {why}"
    if any(ip in network for network in allow_networks):
        return next((why for address in inner if (why := refusal(address, allow_networks))), None)
    if why := _within(ip, _NAMED):
        return why
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return "not global unicast"
    return None if ip.is_global else "reserved for special use"


def embedded_ipv4(ip: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that a transition form leads to: mapped, NAT64 (RFC 6052), 6to4, Teredo."""
    if isinstance(ip, IPv4Address):
        return ()
    if ip.ipv4_mapped is not None:
        return (ip.ipv4_mapped,)
    if ip.sixtofour is not None:
        return (ip.sixtofour,)
    if ip.teredo is not None:
        return ip.teredo
    if any(ip in network for network in _NAT64):
        return (IPv4Address(int(ip) & 0xFFFFFFFF),)
    return ()


def _within(ip: Address, networks: Sequence[tuple[Network, str]]) -> str | None:
    return next((what for network, what in networks if ip in network), None)
