"""The whole way: a namespace without any route, the real nftables rules, the service as a process, real clients."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from airut_common.config.models import EgressConfig, InstallationConfig
from airut_common.config.store import apply_config
from airut_common.contracts.v1 import EgressEvent, OpenSession, SessionOpened
from airut_common.contracts.v1.subjects import egress_event
from airut_common.processes import run
from airut_common.sealed import remove_sealed, sealed_key
from airut_egress.testing.origin import Answer, Origin
from airut_sandbox.attach import attach_network

from .conftest import SECRET, SERVICE, Proxy, Starter, open_session, repo_config

pytestmark = pytest.mark.integration

NAME = "api.example.test"


@dataclass
class Namespace:
    """A process in user, network and mount namespaces of its own, as a container has them."""

    pid: int
    folder: Path

    async def attach(self, opened: SessionOpened) -> None:
        inodes = {kind: os.stat(f"/proc/{self.pid}/ns/{kind}").st_ino for kind in ("user", "net")}  # noqa: PTH116
        await attach_network(
            self.pid,
            user_ns=inodes["user"],
            net_ns=inodes["net"],
            socket=Path(opened.attach_socket),
            token=opened.attach_token,
        )
        (self.folder / "ca.pem").write_text(opened.ca_certificate)

    async def run(self, *argv: str, seconds: float = 30) -> str:
        enter = ["nsenter", "-t", str(self.pid), "-U", "-n", "-m", "--preserve-credentials"]
        done = await run([*enter, *argv], timeout_seconds=seconds, check=False)
        return done.stdout.decode() + done.stderr.decode()

    async def curl(self, *arguments: str) -> str:
        ca = str(self.folder / "ca.pem")
        return await self.run("curl", "-sS", "--max-time", "10", "--cacert", ca, *arguments)


@asynccontextmanager
async def namespace(folder: Path, *, prepare: str = "true") -> AsyncIterator[Namespace]:
    resolv = folder / "resolv.conf"
    resolv.write_text("nameserver 198.18.0.1\n")
    script = f"mount --bind {resolv} /etc/resolv.conf && {prepare} && echo ready && exec sleep 600"
    process = await asyncio.create_subprocess_exec(
        "unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", script,
        stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield Namespace(process.pid, folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin((NAME,), trustme.CA()).running() as origin:
        origin.respond = lambda seen: Answer(body=json.dumps(seen.headers).encode())
        yield origin


@pytest.fixture
async def configured(starter: Starter, origin: Origin, tmp_path: Path) -> Starter:
    egress = EgressConfig(
        connect_to={NAME: origin.tls_address}, ca_file=origin.write_ca(tmp_path / "upstream.pem")
    )
    await apply_config(starter.bus, InstallationConfig(egress=egress, repos={"demo": repo_config("API_KEY")}))
    return starter


async def opened(proxy: Proxy, request: OpenSession) -> SessionOpened:
    async with asyncio.timeout(30):
        while not isinstance(answer := await proxy.open(request), SessionOpened):
            assert answer.code == "missing_secret", answer
            await asyncio.sleep(0.05)
    return answer


async def event_of(proxy: Proxy, sandbox: str, kind: str, host: str) -> EgressEvent:
    async with asyncio.timeout(30):
        async with contextlib.aclosing(proxy.bus.replay([egress_event("demo", sandbox)])) as stored:
            async for message in stored:
                event = EgressEvent.decode(message.data)
                if (event.kind, event.host) == (kind, host) and not event.is_start:
                    return event
    raise AssertionError


async def denied_hosts(proxy: Proxy, sandbox: str) -> list[str | None]:
    """Hosts of the denied connections that are stored by now, in order."""
    found = []
    async with (
        asyncio.timeout(30),
        contextlib.aclosing(proxy.bus.replay([egress_event("demo", sandbox)])) as stored,
    ):
        async for message in stored:
            event = EgressEvent.decode(message.data)
            if (event.kind, event.decision) == ("connection", "deny"):
                found.append(event.host)
            if message.pending == 0:
                break
    return found


async def test_from_a_namespace_to_the_upstream(configured: Starter, origin: Origin, tmp_path: Path) -> None:
    async with configured.running() as proxy, namespace(tmp_path) as inside:
        await proxy.set_secret("API_KEY", SECRET)
        request = open_session()
        session = await opened(proxy, request)
        assert "Could not" in await inside.curl(f"https://{NAME}/")
        await inside.attach(session)

        bearer = f"authorization: Bearer {session.environment['API_KEY']}"
        answer = await inside.curl("-H", bearer, f"https://{NAME}/v1/messages?x=1")
        assert SECRET not in answer, "field notes 24: the upstream said what it was sent"
        assert session.environment["API_KEY"] in answer
        assert origin.seen[-1].header("authorization") == f"Bearer {SECRET}"
        allowed = await event_of(proxy, request.sandbox, "request", NAME)
        assert (allowed.decision, allowed.status, allowed.credentials) == ("allow", 200, ("API_KEY",))
        assert allowed.tags == ("scrubbed",)
        assert allowed.path == "/v1/messages"
        assert (await event_of(proxy, request.sandbox, "dns", NAME)).decision == "info"

        # Another host is told apart by its name, for HTTP and for what is no HTTP.
        denied = json.loads(await inside.curl("https://exfil.example.test/"))
        assert (denied["error"], denied["obstacle"]) == ("network_denied", "host")
        assert json.loads(await inside.curl("http://exfil.example.test/"))["obstacle"] == "host"
        python = "import socket; socket.create_connection(('ssh.example.test', 22), 5).recv(10)"
        assert "ConnectionResetError" in await inside.run(sys.executable, "-c", python)
        raw = await event_of(proxy, request.sandbox, "connection", "ssh.example.test")
        assert (raw.decision, raw.reason, raw.port) == ("deny", "port", 22)

        # Row 2: an address is no name.
        assert "curl:" in await inside.curl("-k", "https://192.0.2.1/")
        assert (await event_of(proxy, request.sandbox, "connection", "192.0.2.1")).reason == "literal"
        assert SECRET not in proxy.log.read_text()


DIAL = """
import socket, sys, time
begun = time.monotonic()
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(10)
except OSError as error:
    print(type(error).__name__, error, "late" if time.monotonic() - begun > 1 else "at-once")
"""


async def test_row_6_an_attempt_over_ipv6_is_refused_and_seen(configured: Starter, tmp_path: Path) -> None:
    attempts = [
        ("2606:4700:4700::1111", 443),
        ("2001:db8::7", 22),
        ("fe80::1%lo", 80),
        ("64:ff9b::101:101", 443),
    ]
    async with configured.running() as proxy, namespace(tmp_path) as inside:
        await proxy.set_secret("API_KEY", SECRET)
        request = open_session()
        await inside.attach(await opened(proxy, request))
        for address, port in attempts:
            told = await inside.run(sys.executable, "-c", DIAL, address, str(port))
            assert told.startswith("ConnectionResetError"), told
            assert told.endswith("at-once\n"), told
            event = await event_of(proxy, request.sandbox, "connection", address.partition("%")[0])
            assert (event.decision, event.reason, event.port) == ("deny", "literal", port)
        # Its own loopback is nobody else's business: nobody listens there, and the proxy is not asked.
        assert "ConnectionRefused" in await inside.run(sys.executable, "-c", DIAL, "::1", "9")
        # The ways without a connection are shut by the kernel.
        send = "import socket; socket.setdefaulttimeout(5); s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM);"
        send += "s.connect(('2001:db8::8', 53)); s.send(b'x'); s.recv(1)"
        assert "PermissionError" in await inside.run(sys.executable, "-c", send)
        assert "curl:" in await inside.curl("-6", "-k", "https://[2001:db8::9]/")
        await event_of(proxy, request.sandbox, "connection", "2001:db8::9")
        hosts = await denied_hosts(proxy, request.sandbox)
    assert hosts == [*(address.partition("%")[0] for address, _ in attempts), "2001:db8::9"]


@pytest.mark.parametrize(
    "prepare",
    [
        "echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6",
        "ip link set lo up && ip -6 address delete ::1/128 dev lo",
    ],
    ids=["disabled", "no-address"],
)
async def test_row_6_where_there_is_no_ipv6_it_is_refused_by_the_kernel(
    configured: Starter, origin: Origin, tmp_path: Path, prepare: str
) -> None:
    """Two sockets are handed over then, and IPv4 works as ever."""
    async with configured.running() as proxy, namespace(tmp_path, prepare=prepare) as inside:
        await proxy.set_secret("API_KEY", SECRET)
        request = open_session()
        await inside.attach(await opened(proxy, request))
        told = await inside.run(sys.executable, "-c", DIAL, "2606:4700:4700::1111", "443")
        assert "Error" in told, told
        assert told.endswith("at-once\n"), told
        assert NAME in await inside.curl(f"https://{NAME}/")
        assert "ConnectionReset" in await inside.run(sys.executable, "-c", DIAL, "192.0.2.1", "22")
        await event_of(proxy, request.sandbox, "connection", "192.0.2.1")
        assert await denied_hosts(proxy, request.sandbox) == ["192.0.2.1"]


async def test_a_proxy_that_returns_is_attached_again(
    configured: Starter, origin: Origin, tmp_path: Path
) -> None:
    """The proxy is killed without a word; the same sandbox goes on with the same surrogate."""
    request = open_session()
    async with namespace(tmp_path) as inside:
        async with configured.running() as proxy:
            await proxy.set_secret("API_KEY", SECRET)
            session = await opened(proxy, request)
            await inside.attach(session)
            assert "api.example" in await inside.curl(f"https://{NAME}/")
            os.killpg(proxy.process.pid, signal.SIGKILL)
            await proxy.process.wait()
        assert "curl:" in await inside.curl(f"https://{NAME}/")
        async with configured.running() as proxy:
            await inside.attach(await opened(proxy, request))
            bearer = f"authorization: Bearer {session.environment['API_KEY']}"
            assert session.environment["API_KEY"] in await inside.curl("-H", bearer, f"https://{NAME}/")
            assert origin.seen[-1].header("authorization") == f"Bearer {SECRET}"


async def test_a_replaced_value_is_used_at_once_and_a_removed_one_never(
    configured: Starter, origin: Origin, tmp_path: Path
) -> None:
    """Field notes 33: the sandbox keeps its surrogate; what stands behind it changes."""
    other = "sk-ant-api03-fedcba98765432100REAL"
    async with configured.running() as proxy, namespace(tmp_path) as inside:
        await proxy.set_secret("API_KEY", SECRET)
        request = open_session()
        session = await opened(proxy, request)
        await inside.attach(session)
        stand_in = session.environment["API_KEY"]

        async def answer() -> str:
            return await inside.curl("-H", f"authorization: Bearer {stand_in}", f"https://{NAME}/")

        async def seen_by_the_upstream() -> str:
            origin.seen.clear()
            await answer()
            return origin.seen[-1].header("authorization") or "" if origin.seen else ""

        assert await seen_by_the_upstream() == f"Bearer {SECRET}"
        async with asyncio.timeout(30):
            await proxy.set_secret("API_KEY", other)
            while await seen_by_the_upstream() != f"Bearer {other}":
                pass
            assert (await opened(proxy, request)).environment == {"API_KEY": stand_in}
            await remove_sealed(proxy.bus, sealed_key(SERVICE, "demo", "API_KEY"))
            while await seen_by_the_upstream() == f"Bearer {other}":
                pass
        refused = await answer()
        assert json.loads(refused)["obstacle"] == "credential"
        assert SECRET not in refused
