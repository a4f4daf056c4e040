"""Hosts as network namespaces on one switch, so that a cable can be pulled. Needs root."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from secrets import randbelow, token_hex
from typing import Final

from airut_common.processes import run

_SECONDS: Final = 30.0


@dataclass(frozen=True)
class NetworkHost:
    """One host on the switch."""

    namespace: str
    address: str
    cable: str
    """The switch's end."""

    def command(self, *argv: str) -> list[str]:
        """`argv`, run on this host."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *argv]

    async def unplug(self) -> None:
        """Nothing comes from it or to it any more; nobody is told."""
        await _ip("link", "set", self.cable, "down")

    async def plug_in(self) -> None:
        """And everything does again."""
        await _ip("link", "set", self.cable, "up")


@dataclass(frozen=True)
class Switch:
    """The hosts, and our own address among them."""

    address: str
    hosts: Sequence[NetworkHost]


@asynccontextmanager
async def open_switch(count: int) -> AsyncIterator[Switch]:
    """So many hosts, in a network that nobody else here uses (RFC 2544 leaves 198.18.0.0/15 to tests)."""
    name = f"airut{token_hex(3)}"
    network = f"198.19.{randbelow(256)}"
    async with AsyncExitStack() as stack:
        await _ip("link", "add", name, "type", "bridge")
        stack.push_async_callback(_ip, "link", "del", name)
        await _ip("address", "add", f"{network}.254/24", "dev", name)
        await _ip("link", "set", name, "up")
        hosts = []
        for number in range(1, count + 1):
            host = NetworkHost(f"{name}-{number}", f"{network}.{number}", f"{name}p{number}")
            await _ip("netns", "add", host.namespace)
            stack.push_async_callback(_ip, "netns", "del", host.namespace)
            await _ip(
                "link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.namespace
            )
            await _ip("link", "set", host.cable, "master", name, "up")
            await _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                await _ip("-n", host.namespace, "link", "set", device, "up")
            hosts.append(host)
        yield Switch(f"{network}.254", hosts)


async def _ip(*argv: str) -> None:
    await run(["ip", *argv], timeout_seconds=_SECONDS)
