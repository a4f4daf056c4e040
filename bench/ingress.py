"""Mail in: the gateway as a process, judging by DKIM, SPF and DMARC, beside aiosmtpd with `dkim.verify`."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import dkim
import dns.message
import dns.query
from aiosmtpd.smtp import SMTP
from cryptography.hazmat.primitives.asymmetric import rsa

from airut_common.bus import Bus, open_bus
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import ORCHESTRATOR_TASKS, STATUS_BUCKET, status_key
from airut_common.config.models import InstallationConfig
from airut_common.config.store import apply_config
from airut_common.contracts.v1 import TaskRequest
from airut_mail_auth.testing.crafting import Signer
from airut_mail_auth.testing.zones import ZoneServer
from bench.proxies import cpu_seconds, peak_mib, process, reset_peak, rss_mib
from bench.rows import Row, p50, p99

CLIENTS: Final = 8
BODY_BYTES: Final = 10_000
MAILS: Final = 3_000
"""For the rates, in rounds that alternate."""
ROUNDS: Final = 3
MANY: Final = 20_000
"""For the memory: those above are among them."""
LARGE_BYTES: Final = 30_000_000
FLAT_MIB: Final = 10
SENDERS: Final = 200
"""Each may send 300 mails in an hour."""
_PER_CONNECTION: Final = 90


def _zone(record: str, pipe: Connection) -> None:
    """DNS in a process of its own."""

    async def main() -> None:
        zone = ZoneServer()
        zone.texts("bench._domainkey.lovelace.example", record)
        zone.texts("_dmarc.lovelace.example", "v=DMARC1; p=reject")
        zone.texts("lovelace.example", "v=spf1 ip4:192.0.2.1 -all")
        async with zone.running():
            pipe.send(zone.port)
            await asyncio.Event().wait()

    asyncio.run(main())


def _plain_server(zone_port: int, pipe: Connection) -> None:
    """What a short script would be: aiosmtpd, and `dkim.verify` for each mail."""

    def look_up(name: bytes, timeout: int = 5) -> bytes | None:
        answer = dns.query.udp(
            dns.message.make_query(name.decode(), "TXT"), "127.0.0.1", timeout=timeout, port=zone_port
        )
        return b"".join(b"".join(item.strings) for item in answer.answer[0]) if answer.answer else None

    class Handler:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
            good = dkim.verify(envelope.original_content, dnsfunc=look_up)  # type: ignore[no-untyped-call]
            return "250 OK" if good else "550 no"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(Handler(), data_size_limit=64 * 1024 * 1024, hostname="plain.example", loop=loop),
            "127.0.0.1", 0,
        )  # fmt: skip
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


class _Mails:
    """Signed mails, none like another."""

    def __init__(self) -> None:
        self._signer = Signer("lovelace.example", "bench", rsa.generate_private_key(65537, 2048))
        self.record = self._signer.record
        self._made = 0
        self._words = ("Please look at this line of a report; it is as long as lines are.\r\n" * 400).encode()

    def make(self, count: int) -> list[tuple[str, bytes]]:
        """Senders and mails."""
        return [self._one(self._words[:BODY_BYTES]) for _ in range(count)]

    def large(self) -> tuple[str, bytes]:
        """One with an attachment of 30 MB."""
        line = b"QUJD" * 19 + b"\r\n"
        file = line * (LARGE_BYTES // len(line))
        head = b"--b\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n--b\r\n" + (
            b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=a.bin\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n"
        )
        return self._one(head + file + b"--b--\r\n", "multipart/mixed; boundary=b")

    def _one(self, body: bytes, kind: str = "text/plain; charset=utf-8") -> tuple[str, bytes]:
        self._made += 1
        sender = f"u{self._made % SENDERS}@lovelace.example"
        head = (
            f"From: {sender}\r\nTo: demo@airut.example\r\nSubject: Mail {self._made}\r\nDate: {formatdate()}\r\n"
            f"Message-ID: <{self._made}.bench@lovelace.example>\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n"
        )
        return sender, self._signer.dkim(head.encode() + body, at=int(time.time()))


async def measure() -> list[Row]:
    """Rates and latencies in rounds that alternate, then memory."""
    mails = _Mails()
    with (
        process(_zone, mails.record) as (_, zone),
        tempfile.TemporaryDirectory(prefix="airut-bench-") as name,
    ):
        zone_port = zone.recv()
        with process(_plain_server, zone_port) as (plain_pid, plain):
            plain_port = plain.recv()
            async with _gateway(Path(name), zone_port) as (bus, pid, port):
                counted = asyncio.ensure_future(_count(bus))
                ours, theirs = _Sample(), _Sample()
                await _deliver(port, mails.make(200))  # warms both
                await _deliver(plain_port, mails.make(50))
                for _ in range(ROUNDS):
                    await ours.add(pid, port, mails.make(MAILS // ROUNDS))
                    await theirs.add(plain_pid, plain_port, mails.make(MAILS // ROUNDS // 4))
                early = rss_mib(pid)
                sent = 200 + MAILS
                while sent < MANY:
                    await _deliver(port, mails.make(1000))
                    sent += 1000
                late = rss_mib(pid)
                reset_peak(pid)
                took = (await _deliver(port, [mails.large()]))[0]
                peak, after, worker = peak_mib(pid), rss_mib(pid), _worker_mib(Path(name) / "log")
                reset_peak(plain_pid)
                before = rss_mib(plain_pid)
                await _deliver(plain_port, [mails.large()])
                plain_peak = peak_mib(plain_pid) - before
                counted.cancel()
    flat = f"{early:.0f} and {late:.0f} MiB"
    more = f"{peak - late:.0f} and {after - late:.0f} MiB of {late:.0f} MiB, in {took / 1000:.1f} s"
    return [
        *_speed(ours, theirs),
        Row(
            f"memory after {200 + MAILS:,} and after {MANY:,} mails",
            flat,
            "",
            "flat",
            late - early < FLAT_MIB,
        ),
        Row(
            "a mail of 30 MB: memory of the service on top, at the peak and then",
            more,
            f"{plain_peak:.0f} MiB",
            "constant",
            peak - late < FLAT_MIB,
        ),
        Row("  memory of the process that took it apart, at its peak", f"{worker:.0f} MiB", "", "", None),
    ]


def _worker_mib(log: Path) -> float:
    """What the last process held that took a large mail apart, by the service's log."""
    lines = map(json.loads, log.read_text().splitlines())
    peaks: list[int] = [line["peak_bytes"] for line in lines if line["event"] == "large_mail_read"]
    return peaks[-1] / 1024**2


def _speed(ours: "_Sample", theirs: "_Sample") -> list[Row]:
    def times(sample: _Sample) -> str:
        return f"{p50(sample.latencies):.0f} / {p99(sample.latencies):.0f} ms"

    def rates(sample: _Sample) -> str:
        return f"{sample.rate:.0f}/s, {sample.per_cpu:.0f} per CPU second"

    what = f"mails/s of {BODY_BYTES // 1000} KB, {CLIENTS} connections"
    late = p99(ours.latencies)
    return [
        Row(what, rates(ours), rates(theirs), "≥ 100/s", ours.rate >= 100),
        Row("  from the last byte to 250, p50 / p99", times(ours), times(theirs), "p99 < 250 ms", late < 250),
    ]


class _Sample:
    """What deliveries took."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self._wall = self._cpu = 0.0

    async def add(self, pid: int, port: int, mails: Sequence[tuple[str, bytes]]) -> None:
        used, began = cpu_seconds(pid), time.monotonic()
        self.latencies += await _deliver(port, mails)
        self._wall += time.monotonic() - began
        self._cpu += cpu_seconds(pid) - used

    @property
    def rate(self) -> float:
        return len(self.latencies) / self._wall

    @property
    def per_cpu(self) -> float:
        return len(self.latencies) / max(self._cpu, 0.01)


async def _deliver(port: int, mails: Sequence[tuple[str, bytes]]) -> list[float]:
    """Send all over some connections; milliseconds from the end of each mail to its 250."""
    left = list(mails)
    taken: list[float] = []

    async def client() -> None:
        while left:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
            await reader.readline()
            await _say(reader, writer, b"EHLO c.example\r\n")
            for _ in range(_PER_CONNECTION):
                if not left:
                    break
                sender, data = left.pop()
                await _say(reader, writer, b"MAIL FROM:<%b>\r\n" % sender.encode())
                await _say(reader, writer, b"RCPT TO:<demo@airut.example>\r\n")
                await _say(reader, writer, b"DATA\r\n")
                writer.write(data)
                await writer.drain()
                began = time.monotonic()
                await _say(reader, writer, b"\r\n.\r\n")
                taken.append((time.monotonic() - began) * 1000)
            writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    assert len(taken) == len(mails)
    return taken


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: bytes) -> None:
    writer.write(command)
    while True:
        line = await reader.readline()
        if line[3:4] != b"-":
            break
    if line[:1] not in (b"2", b"3"):
        raise RuntimeError(f"{command[:40]!r}: {line!r}")


async def _count(bus: Bus) -> None:
    """Takes the requests from the bus, as the orchestrator does."""

    async def taken(_request: TaskRequest) -> None:
        return None

    await bus.consume(ORCHESTRATOR_TASKS, TaskRequest, taken, concurrency=8)


@asynccontextmanager
async def _gateway(folder: Path, zone_port: int) -> AsyncIterator[tuple[Bus, int, int]]:
    """The service as a process; its bus, its process id and its port."""
    config = {
        "email": {
            "listen": "127.0.0.1:0", "hostname": "airut.example", "max_message_bytes": 64 * 1024 * 1024,
            "authentication": {"resolver": f"127.0.0.1:{zone_port}"},
            "relay": {"host": "127.0.0.1", "port": 9, "security": "plain"},
        },
        "repos": {
            "demo": {
                "address": "demo@airut.example", "senders": ["*@lovelace.example"],
                "git": {"url": "https://git.example/x.git"},
            }
        },
    }  # fmt: skip
    nats = NatsServer(folder / "nats")
    async with nats.running(), open_bus(nats.url, name="bench", nkey_seed_file=None) as bus:
        await bus.ensure_topology()
        await apply_config(bus, InstallationConfig.model_validate_json(json.dumps(config)))
        environment = {
            "PATH": os.environ["PATH"], "AIRUT_NATS_URL": nats.url, "AIRUT_STATE_DIR": str(folder / "state"),
            "AIRUT_INSTALLATION": "bench", "AIRUT_LOG_FORMAT": "json",
        }  # fmt: skip
        with (folder / "log").open("wb") as log:
            gateway = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "airut_gateway_email", env=environment, stderr=log, stdout=log
            )
            try:
                yield bus, gateway.pid, await _port(bus)
            finally:
                gateway.terminate()
                await gateway.wait()


async def _port(bus: Bus) -> int:
    async with asyncio.timeout(30):
        async for entry in bus.kv_watch(STATUS_BUCKET, status_key("gateway-email")):
            if entry is not None and entry.value:
                return int(json.loads(entry.value)["addresses"]["smtp"].rpartition(":")[2])
    raise AssertionError("the watch ended")
