"""Throughput, latency and memory of the egress engine beside plain mitmdump, on loopback.

    python bench/egress.py [--seconds 5]

Three processes: an upstream (TLS, keep-alive), the proxy under test, and this client. Prints a table.
"""

import argparse
import asyncio
import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import trustme
import uvloop

from airut_common.contracts.v1 import EgressEvent
from airut_egress.engine import Engine, EngineSettings
from airut_egress.session import SessionConfig

NAME = "api.example.test"
REQUEST = f"GET /v1/thing HTTP/1.1\r\nHost: {NAME}\r\nAccept: */*\r\n\r\n".encode()
BODY = b"x" * 1000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class UpstreamProtocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            _, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.transport.write(ANSWER)


def upstream(folder, port):
    async def main():
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "leaf.pem")
        server = await asyncio.get_running_loop().create_server(UpstreamProtocol, "127.0.0.1", 0, ssl=context)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


class Nothing:
    def record(self, event: EgressEvent) -> None:
        """Drop it."""


def memory() -> float:
    """Resident MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def engine(folder, upstream_port, port):
    async def main():
        settings = EngineSettings(
            connect_to={NAME: f"127.0.0.1:{upstream_port}"}, ca_file=folder / "ca.pem", max_connections=4096
        )
        names = {}

        def lookup(_):
            return names["address"], 443

        made = Engine(
            settings, sink=Nothing(), installation_key=b"k" * 32, state_dir=folder / "state", lookup=lookup
        )

        async def attach(number):
            opened = made.open(
                SessionConfig(f"s{number}", f"t{number}", "demo", f"domains: [{NAME}]\n", "allowlist")
            )
            tcp = socket.create_server(("127.0.0.1", 0))
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind(("127.0.0.1", 0))
            names["address"] = str(made.sessions[f"s{number}"].names.address_for(NAME))
            address = tcp.getsockname()[1]
            await made.attach(opened.token, tcp, udp)
            return address

        address = await attach(0)
        before = memory()
        for number in range(1, 401):
            await attach(number)
        per_session = (memory() - before) / 400
        for number in range(1, 401):
            await made.close(f"s{number}")
        port.send((address, made.ca_certificate, per_session))
        while True:
            await asyncio.sleep(0.2)
            if port.poll():
                port.recv()
                port.send(memory())

    uvloop.run(main())


@contextmanager
def process(target, *args):
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(target=target, args=(*args, theirs), daemon=True)
    child.start()
    try:
        yield ours
    finally:
        child.kill()
        child.join()


@contextmanager
def mitmdump(folder, upstream_port):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [
        str(Path(sys.executable).with_name("mitmdump")), "-q", "--set", f"confdir={folder / 'mitm'}",
        "--mode", f"reverse:https://127.0.0.1:{upstream_port}/", "--set", "ssl_insecure=true",
        "--set", "connection_strategy=lazy", "--listen-host", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    with subprocess.Popen(argv) as child:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield port
        finally:
            child.kill()


async def one_client(port, context, until, latencies):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)
    while time.monotonic() < until:
        begun = time.perf_counter()
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        await reader.readexactly(len(BODY))
        latencies.append(time.perf_counter() - begun)
    writer.transport.abort()


async def load(port, context, seconds, clients):
    latencies = []
    await one_client(port, context, time.monotonic() + 0.5, [])
    begun = time.monotonic()
    await asyncio.gather(*(one_client(port, context, begun + seconds, latencies) for _ in range(clients)))
    rate = len(latencies) / (time.monotonic() - begun)
    return rate, statistics.median(latencies) * 1000, statistics.quantiles(latencies, n=100)[98] * 1000


def measure(name, port, context, seconds):
    for clients in (1, 16):
        rate, p50, p99 = uvloop.run(load(port, context, seconds, clients))
        print(
            f"{name:10} {clients:3} clients  {rate:7.0f} requests/s   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms"
        )


def insecure():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    seconds = parser.parse_args().seconds
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        authority.issue_cert(NAME, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(folder / "leaf.pem")
        )
        with process(upstream, folder) as up:
            upstream_port = up.recv()
            measure("direct", upstream_port, insecure(), seconds)
            with process(engine, folder, upstream_port) as proxy:
                port, ca, per_session = proxy.recv()
                measure("engine", port, ssl.create_default_context(cadata=ca), seconds)
                proxy.send(None)
                print(f"engine: {per_session:.3f} MiB for an idle session, {proxy.recv():.0f} MiB in all")
            with mitmdump(folder, upstream_port) as port:
                measure("mitmdump", port, insecure(), seconds)


if __name__ == "__main__":
    main()
