"""The network of a sandbox, from inside and from the proxy's side. Field-notes rows 1, 2, 4, 5, 6, 7."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airut_sandbox.attach import attach_network
from airut_sandbox.container import Sandbox, open_sandbox
from airut_sandbox.errors import AttachFailed
from airut_sandbox.testing.containers import Bench, Output
from airut_sandbox.testing.fake_proxy import SYNTHETIC, FakeProxy, fake_proxy

pytestmark = pytest.mark.integration

# Tries one connection or datagram: prints "open", or the error's name, and never waits longer than 3 s.
TRY = r"""
import errno, os, socket, sys, time
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
begun = time.monotonic()
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(3)
try:
    if kind == "broadcast":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    if kind == "sendto":
        s.sendto(b"x", (address, port))
    else:
        s.connect((address, port))
    if kind != "tcp":
        s.send(b"x")
        s.recv(100)
    print("open", end=" ")
except TimeoutError:
    print("TIMEOUT", end=" ")
except OSError as e:
    print(errno.errorcode[e.errno], end=" ")
print("late" if time.monotonic() - begun > 1 else "at-once")
"""


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FakeProxy]:
    with fake_proxy(tmp_path) as made:
        yield made


async def _inside(bench: Bench, proxy: FakeProxy, script: str) -> str:
    """Output of a shell script in an attached sandbox; `try KIND ADDRESS PORT` is the program above."""
    (bench.workspace / "try.py").write_text(TRY)
    spec = bench.shell('try() { python3 /workspace/try.py "$@"; }\n' + script)
    output = Output()
    async with open_sandbox(bench.podman, spec) as sandbox:
        await sandbox.attach_network(proxy.path, "the token")
        await sandbox.run(b"", output, 60)
    return output.text


async def test_names_resolve_and_connections_arrive_with_their_target(bench: Bench, proxy: FakeProxy) -> None:
    text = await _inside(
        bench,
        proxy,
        "getent ahostsv4 git.demo.example | head -1; curl -sS http://git.demo.example/; curl -sS http://192.0.2.1:8443/",
    )
    lines = text.splitlines()
    assert lines[0].split()[0] == SYNTHETIC
    assert lines[1:] == [f"{SYNTHETIC}:80", "192.0.2.1:8443"]
    assert proxy.connections == [(SYNTHETIC, 80), ("192.0.2.1", 8443)]
    assert any(b"\x03git\x04demo\x07example" in question for question in proxy.questions)
    assert proxy.messages == [{"version": 1, "token": "the token"}]


async def test_every_resolver_is_ours(bench: Bench, proxy: FakeProxy) -> None:
    """Row 4: a question to any resolver's address is answered by the proxy, over UDP, and seen over TCP."""
    query = "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(3); s.connect((sys.argv[1],53)); "
    query += r"s.send(b'\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6secret\\7example\\0\\0\\1\\0\\1'); print(len(s.recv(500)))"
    text = await _inside(
        bench, proxy, f'python3 -c "{query}" 8.8.8.8; python3 -c "{query}" 198.18.0.1; try tcp 9.9.9.9 53'
    )
    assert text.splitlines() == ["48", "48", "open at-once"]
    assert len(proxy.questions) == 2
    assert proxy.connections == [("9.9.9.9", 53)]


REFUSED = [
    ("udp", "8.8.8.8", 443),  # row 5: QUIC
    ("udp", "198.18.0.7", 123),
    ("sendto", "224.0.0.251", 5353),
    ("broadcast", "255.255.255.255", 67),
    ("udp", "2001:db8::1", 53),  # row 6
    ("udp", "2001:4860:4860::8888", 53),
    ("sendto", "ff02::1", 5353),
]


async def test_everything_else_is_refused_at_once(bench: Bench, proxy: FakeProxy) -> None:
    """Rows 1, 5, 6: an error, not a time-out, and nothing reaches the proxy."""
    script = "\n".join(f"try {kind} {address} {port}" for kind, address, port in REFUSED)
    lines = (await _inside(bench, proxy, script)).splitlines()
    assert len(lines) == len(REFUSED)
    for attempt, line in zip(REFUSED, lines, strict=True):
        outcome, when = line.split()
        assert outcome not in {"open", "TIMEOUT"}, (attempt, line)
        assert when == "at-once", (attempt, line)
    assert proxy.connections == []
    assert proxy.questions == []


async def test_tcp_over_ipv6_goes_to_a_listener_of_its_own_and_nowhere_else(
    bench: Bench, proxy: FakeProxy
) -> None:
    """Row 6: no side door, and the proxy learns where it was going."""
    assert await _inside(bench, proxy, "try tcp 2001:db8::1 443") == "open at-once"
    assert proxy.connections == [("2001:db8::1", 443)]


async def test_a_v4_address_in_v6_clothes_is_redirected_too(bench: Bench, proxy: FakeProxy) -> None:
    """Rows 2, 6: the kernel makes IPv4 of it, so the IPv4 rules hold."""
    assert await _inside(bench, proxy, "try tcp ::ffff:192.0.2.9 443") == "open at-once"
    assert proxy.connections == [("192.0.2.9", 443)]


async def test_programs_inside_reach_each_other(bench: Bench, proxy: FakeProxy) -> None:
    """Loopback among themselves, low ports included, and nothing of it reaches the proxy."""
    server = "import socket,sys; s=socket.create_server((sys.argv[1],int(sys.argv[2])),family=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET); print('up',flush=True); s.accept(); s.accept()"
    script = f"""
    for where in "127.0.0.1 80" "127.0.0.53 8080" "::1 8080"; do
      python3 -c "{server}" $where & read -t 5 up 2>/dev/null || sleep 0.5
      try tcp $where
    done
    kill %1 %2 %3
    """
    lines = (await _inside(bench, proxy, script)).splitlines()
    assert [line for line in lines if line != "up"] == ["open at-once"] * 3
    assert proxy.connections == []


async def test_the_hosts_loopback_is_out_of_reach(bench: Bench, proxy: FakeProxy) -> None:
    """Row 7."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        ports = server.getsockname()[1], six.getsockname()[1]
        text = await _inside(bench, proxy, f"try tcp 127.0.0.1 {ports[0]}; try tcp ::1 {ports[1]}")
    assert text.splitlines() == ["ECONNREFUSED at-once"] * 2


async def test_rules_and_routes_cannot_be_changed_from_inside(bench: Bench, proxy: FakeProxy) -> None:
    program = "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)"
    script = f"""
    python3 -c "{program}" 2>&1 | tail -1
    (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>&1 | tail -1
    unshare --user --net true 2>&1; cat /proc/sys/net/ipv4/ip_unprivileged_port_start
    """
    lines = (await _inside(bench, proxy, script)).splitlines()
    assert "Function not implemented" in lines[0]
    assert "Read-only" in lines[1]
    assert "unshare" in lines[2]
    assert lines[3] == "0"


async def test_attached_again_after_the_proxy_died(bench: Bench, proxy: FakeProxy) -> None:
    """Without the proxy there is no network; with the next one there is, in the same running sandbox (row 5: the
    rules are set again too)."""
    (bench.workspace / "try.py").write_text(TRY)
    (bench.workspace / "steps").mkdir()
    script = """
    for step in 1 2 3; do
      while [ ! -e /workspace/steps/$step ]; do sleep 0.02; done
      python3 /workspace/try.py tcp 192.0.2.1 443
    done
    """
    lines: asyncio.Queue[str] = asyncio.Queue()

    async def on_line(line: bytes) -> None:
        lines.put_nowait(line.decode())

    async def step(number: int) -> str:
        (bench.workspace / "steps" / str(number)).touch()
        return await asyncio.wait_for(lines.get(), 10)

    async with open_sandbox(bench.podman, bench.shell(script)) as sandbox:
        await sandbox.attach_network(proxy.path, "first")
        running = asyncio.create_task(sandbox.run(b"", on_line, 60))
        assert await step(1) == "open at-once"
        proxy.die()
        assert await step(2) == "ECONNREFUSED at-once"
        await sandbox.attach_network(proxy.path, "second")
        assert await step(3) == "open at-once"
        await running
    assert [message["token"] for message in proxy.messages] == ["first", "second"]


async def test_attached_twice_the_newer_listener_is_used(
    bench: Bench, proxy: FakeProxy, tmp_path: Path
) -> None:
    """Attaching may be repeated, also while the earlier listeners still live."""
    (bench.workspace / "try.py").write_text(TRY)
    (other := tmp_path / "other").mkdir()
    output = Output()
    with fake_proxy(other) as second:
        async with open_sandbox(
            bench.podman, bench.shell("python3 /workspace/try.py tcp 192.0.2.1 443; getent hosts a.example")
        ) as sandbox:
            await sandbox.attach_network(proxy.path, "first")
            await sandbox.attach_network(second.path, "second")
            await sandbox.run(b"", output, 60)
    assert output.lines[0] == "open at-once"
    assert (proxy.connections, proxy.questions) == ([], [])
    assert second.connections == [("192.0.2.1", 443)]
    assert second.questions


async def test_a_program_inside_cannot_keep_the_proxy_out(bench: Bench, proxy: FakeProxy) -> None:
    """It may take the usual ports while the proxy is away; the next listeners take others, and the rules follow."""
    (bench.workspace / "try.py").write_text(TRY)
    script = """
    python3 -c "
import socket, time
a = socket.create_server(('127.0.0.1', 15001))
b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.bind(('127.0.0.1', 15053))
print('taken', flush=True); time.sleep(1000)" &
    while [ ! -e go ]; do sleep 0.02; done
    python3 /workspace/try.py tcp 192.0.2.1 443; getent hosts a.example
    kill %1
    """
    taken = asyncio.Event()
    output = Output()

    async def on_line(line: bytes) -> None:
        await output(line)
        taken.set()

    async with open_sandbox(bench.podman, bench.shell(script)) as sandbox:
        running = asyncio.create_task(sandbox.run(b"", on_line, 60))
        await asyncio.wait_for(taken.wait(), 20)
        await sandbox.attach_network(proxy.path, "t")
        (bench.workspace / "go").touch()
        await running
    assert output.lines[:2] == ["taken", "open at-once"]
    assert SYNTHETIC in output.lines[2]
    assert proxy.connections == [("192.0.2.1", 443)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'{"ok":false,"text":"unknown token"}\n', "unknown token"),
        (b'{"ok":"true"}\n', "refused"),
        (b"[]\n", "not one"),
        (b"garbage\n", "not one"),
        (None, "without an answer"),
    ],
)
async def test_no_is_no(bench: Bench, proxy: FakeProxy, answer: bytes | None, reason: str) -> None:
    proxy.answer = answer
    async with open_sandbox(bench.podman, bench.spec()) as sandbox:
        with pytest.raises(AttachFailed, match=reason):
            await sandbox.attach_network(proxy.path, "t")


async def test_no_proxy_at_all(bench: Bench, tmp_path: Path) -> None:
    async with open_sandbox(bench.podman, bench.spec()) as sandbox:
        with pytest.raises(AttachFailed, match="No such file"):
            await sandbox.attach_network(tmp_path / "nothing", "t")


async def test_the_token_is_in_no_argument_list(bench: Bench, proxy: FakeProxy) -> None:
    seen: set[bytes] = set()

    async def watch() -> None:
        while True:
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(entry.read_bytes())
                except OSError:
                    continue
            await asyncio.sleep(0)

    async with open_sandbox(bench.podman, bench.spec()) as sandbox:
        watcher = asyncio.create_task(watch())
        await sandbox.attach_network(proxy.path, "token-in-question")
        watcher.cancel()
    assert any(b"attach_helper" in line for line in seen)
    assert not any(b"token-in-question" in line for line in seen)


def _namespaces(sandbox: Sandbox) -> dict[str, int]:
    return {f"{name}_ns": Path(f"/proc/{sandbox.pid}/ns/{name}").stat().st_ino for name in ("user", "net")}


async def test_another_namespace_than_the_checked_one_is_not_entered(bench: Bench, proxy: FakeProxy) -> None:
    """A process number may be reused: the helper goes by the namespaces that were checked."""
    async with open_sandbox(bench.podman, bench.spec()) as sandbox:
        wrong = _namespaces(sandbox) | {"net_ns": 1}
        with pytest.raises(AttachFailed, match="other namespaces"):
            await attach_network(sandbox.pid, **wrong, socket=proxy.path, token="t")
        own = {f"{name}_ns": Path(f"/proc/self/ns/{name}").stat().st_ino for name in ("user", "net")}
        with pytest.raises(AttachFailed, match="no network namespace of its own"):
            await attach_network(os.getpid(), **own, socket=proxy.path, token="t")
    assert proxy.messages == []


async def test_it_is_quick(bench: Bench, proxy: FakeProxy) -> None:
    """The aim is 60 ms at the median on an idle machine; this bound is for a busy one."""
    async with open_sandbox(bench.podman, bench.spec()) as sandbox:
        taken = []
        for _ in range(9):
            proxy.die()
            begun = time.perf_counter()
            await sandbox.attach_network(proxy.path, "t")
            taken.append(time.perf_counter() - begun)
    assert sorted(taken)[4] < 0.5
