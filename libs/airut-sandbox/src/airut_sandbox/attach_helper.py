"""Enter one sandbox's network, set its rules, open its listeners, and hand them to the egress-proxy.

A program, not a module: `python -I -S attach_helper.py PID USER_NS NET_NS SOCKET`, with the message for the
egress-proxy on standard input. Exit code 0 and the answer's line on standard output; otherwise the reason is on
standard error. It is a process of its own because only a single-threaded one may change its user namespace, and
it imports next to nothing because a task waits for it: `socket`, `json` and `subprocess` together take longer than
all that it does, hence `_socket`, which CPython's `socket` is a thin layer over.
"""

import _socket as sockets
import os
import struct
import sys

TCP_PORT = 15001
UDP_PORT = 15053
EADDRINUSE, EADDRNOTAVAIL = 98, 99  # the module `errno` would be one more import; the numbers are Linux's
MAX_ANSWER = 4096
DEADLINE_SECONDS = 5.0

# With only loopback and no route, every address has to be made local before anything can be redirected. The
# route's type puts it into the table `local`, and `replace` lets a second attachment pass. The address (RFC 7335)
# is there because getaddrinfo with AI_ADDRCONFIG finds nothing on a host that has loopback addresses only.
LINKS = b"link set lo up\naddr replace 192.0.0.2/32 dev lo\nroute replace local default dev lo\n"
# IPv6 is never let out. Where the namespace has it, an attempt is redirected to a listener of its own, which
# refuses it and tells the proxy where it was going; where not, the kernel itself refuses (field notes 6).
LINKS_6 = b"route replace local ::/0 dev lo\n"

# One transaction: the table is emptied and filled again without a moment in between (field notes 1, 5, 6). The
# nat chain runs before the filter chain, which therefore sees redirected packets with a loopback destination.
# Loopback stays usable for the sandbox's own processes; what is left is told so at once instead of timing out.
RULES = """
table inet airut
delete table inet airut
table inet airut {{
  chain to_proxy {{
    type nat hook output priority -100; policy accept;
    ip daddr 127.0.0.0/8 accept
    ip6 daddr ::1 accept
    meta nfproto ipv4 meta l4proto tcp redirect to :{tcp_port}
{tcp6}    meta nfproto ipv4 udp dport 53 redirect to :{udp_port}
  }}
  chain outgoing {{
    type filter hook output priority 0; policy drop;
    ct state established accept
    ip daddr 127.0.0.0/8 accept
    ip6 daddr ::1 accept
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  chain incoming {{
    type filter hook input priority 0; policy drop;
    iifname "lo" accept
  }}
}}
"""


def rules(tcp_port: int = TCP_PORT, udp_port: int = UDP_PORT, tcp6_port: int | None = None) -> bytes:
    """The rules that redirect to these ports, as `nft -f` reads them. `tcp6_port` None: IPv6 is only rejected."""
    tcp6 = "" if tcp6_port is None else f"    meta nfproto ipv6 meta l4proto tcp redirect to :{tcp6_port}\n"
    return RULES.format(tcp_port=tcp_port, udp_port=udp_port, tcp6=tcp6).encode()


class Failure(Exception):
    """The reason, for the log of whoever started this."""


def main(arguments: list[str]) -> None:
    """Do it all. Whatever fails ends the program before a descriptor is handed over."""
    pid, user_ns, net_ns, path = int(arguments[0]), int(arguments[1]), int(arguments[2]), arguments[3]
    message = os.read(0, 65536)
    enter(pid, user_ns, net_ns)
    with_6 = has_ipv6()
    feed("ip", ["ip", "-batch", "-"], LINKS + LINKS_6 if with_6 else LINKS)
    listeners = [listen(sockets.SOCK_STREAM, TCP_PORT), listen(sockets.SOCK_DGRAM, UDP_PORT)]
    if with_6:
        listeners += listen_6()
    feed("nft", ["nft", "-f", "-"], rules(*(each.getsockname()[1] for each in listeners)))
    allow_low_ports()
    os.write(1, hand_over(path, message, listeners))


def enter(pid: int, user_ns: int, net_ns: int) -> None:
    """Join the namespaces of `pid`, but only if they are the expected ones: the number may have been reused."""
    own_user, own_net = os.stat("/proc/self/ns/user").st_ino, os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116
    if net_ns == own_net:
        raise Failure("the sandbox has no network namespace of its own")
    user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    net = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if (os.fstat(user).st_ino, os.fstat(net).st_ino) != (user_ns, net_ns):
        raise Failure("the sandbox is gone: its process has other namespaces now")
    if user_ns != own_user:
        os.setns(user, os.CLONE_NEWUSER)
    os.setns(net, os.CLONE_NEWNET)


def feed(name: str, argv: list[str], text: bytes) -> None:
    """Run a program with `text`, which fits into a pipe, on its standard input. Its complaints go to our standard
    error."""
    readable, writable = os.pipe()
    os.write(writable, text)
    os.close(writable)
    child = os.posix_spawnp(name, argv, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, readable, 0)])
    os.close(readable)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise Failure(f"{name} failed with exit code {code}")


def has_ipv6() -> bool:
    """Whether this namespace's loopback speaks IPv6."""
    try:
        setting = os.open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    disabled = os.read(setting, 8).strip()
    os.close(setting)
    return disabled == b"0"


def listen(kind: int, port: int, address: str = "127.0.0.1") -> sockets.socket:
    """A socket of this namespace on loopback. Any other port will do when `port` is taken: by a proxy that still
    lives, or by a program inside that wants to be in the way. The rules follow the sockets.

    Bound to 127.0.0.1 and not to every address: otherwise connection tracking does not turn the addresses of an
    answer over UDP back.
    """
    family = sockets.AF_INET6 if ":" in address else sockets.AF_INET
    made = sockets.socket(family, kind | sockets.SOCK_CLOEXEC)
    if kind == sockets.SOCK_STREAM:
        # Connections that a proxy left behind when it died must not keep the next one out.
        made.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
    try:
        made.bind((address, port))
        if kind == sockets.SOCK_STREAM:
            made.listen(1024)
    except OSError as error:
        made.close()
        if error.errno != EADDRINUSE or port == 0:
            raise
        return listen(kind, 0, address)
    return made


def listen_6() -> list[sockets.socket]:
    """The listener for IPv6; none where loopback has lost its address, and then the rules only reject."""
    try:
        return [listen(sockets.SOCK_STREAM, TCP_PORT, "::1")]
    except OSError as error:
        if error.errno != EADDRNOTAVAIL:
            raise
        return []


def allow_low_ports() -> None:
    """Let programs inside listen on port 80. A comfort: where the kernel forbids it, they cannot, and that is all."""
    try:
        setting = os.open("/proc/sys/net/ipv4/ip_unprivileged_port_start", os.O_WRONLY | os.O_CLOEXEC)
        os.write(setting, b"0")
        os.close(setting)
    except OSError:
        return


def hand_over(path: str, message: bytes, listeners: list[sockets.socket]) -> bytes:
    """Send the listeners with the message to the egress-proxy, and return its answer's line."""
    proxy = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM | sockets.SOCK_CLOEXEC)
    proxy.settimeout(DEADLINE_SECONDS)
    proxy.connect(path)
    rights = struct.pack(f"{len(listeners)}i", *(each.fileno() for each in listeners))
    if proxy.sendmsg([message], [(sockets.SOL_SOCKET, sockets.SCM_RIGHTS, rights)]) != len(message):
        raise Failure("the egress-proxy took only a part of the message")
    answer = b""
    while not answer.endswith(b"\n") and len(answer) < MAX_ANSWER:
        part = proxy.recv(MAX_ANSWER)
        if not part:
            raise Failure("the egress-proxy closed the connection without an answer")
        answer += part
    return answer


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Failure, OSError) as error:
        os.write(2, f"{error}\n".encode())
        sys.exit(1)
