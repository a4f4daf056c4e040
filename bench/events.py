"""One event for each request at the full rate, through a real nats-server: are all of them in the stream?"""

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import uvloop

from airut_common.bus import Bus, open_bus
from airut_common.bus.server import NatsServer
from airut_common.contracts.v1 import EgressEvent
from airut_common.contracts.v1.subjects import egress_event
from airut_egress_proxy.sink import BusSink
from airut_egress_proxy.spool import Spool
from bench import client
from bench.client import Target
from bench.proxies import Doors, Nothing, make_engine, origin, pin, process
from bench.rows import Row
from bench.sampling import Sample, measured

CLIENTS: Final = 16
SECONDS: Final = 2.0
ROUNDS: Final = 3
_FLUSH_SECONDS: Final = 60.0
_SANDBOX: Final = "bench-events"


class _Outlet:
    """The service's own way to the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def publish_soon(self, subject: str, data: bytes) -> bool:
        return self._bus.publish_soon_encoded(subject, data)

    @property
    def connected(self) -> bool:
        return bool(self._bus.client.is_connected)


def _engines(folder: Path, plain: int, url: str, pipe: Connection) -> None:
    """One engine with the bus and one without. Every word is answered when all events are stored."""
    pin(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with open_bus(url, name="bench", nkey_seed_file=None) as bus:
            spool = Spool.open(folder / "events.spool")
            sink = BusSink(_Outlet(bus), spool)
            doors = Doors()
            with_bus = await doors.open(make_engine(folder, plain, sink, doors), _SANDBOX, 80)
            without = await doors.open(make_engine(folder, plain, Nothing(), doors), "bench-quiet", 80)
            async with asyncio.TaskGroup() as group:
                group.create_task(sink.run())
                pipe.send((with_bus, without))
                while await loop.run_in_executor(None, pipe.recv):
                    while not (await bus.flush_soon(_FLUSH_SECONDS) and spool.empty):  # noqa: ASYNC110 (it has no event)
                        await asyncio.sleep(0.05)
                    pipe.send("stored")

    uvloop.run(main())


async def measure() -> list[Row]:
    """Requests of an engine whose events go to the bus, until all are stored, beside one whose events are dropped."""
    with origin() as (folder, plain, _):
        server = NatsServer(folder / "nats")
        async with server.running(), open_bus(server.url, name="admin", nkey_seed_file=None) as bus:
            await bus.ensure_topology()
            with process(_engines, folder, plain, server.url) as (pid, pipe):
                with_bus, without = await asyncio.to_thread(pipe.recv)
                stored, dropped = Sample(), Sample()

                async def load(target: Target) -> list[float]:
                    done = await client.requests([target], "http", clients=CLIENTS, seconds=SECONDS)
                    pipe.send("flush")
                    async with asyncio.timeout(_FLUSH_SECONDS):
                        await asyncio.to_thread(pipe.recv)
                    return done

                for _ in range(ROUNDS):
                    await measured(Target(with_bus, None, pid), load, stored)
                    await measured(Target(without, None, pid), load, dropped)
            numbers = await _request_numbers(bus)
    complete = len(numbers) == len(set(numbers)) == stored.units
    return [
        Row(
            f"an event for each request in the stream, {CLIENTS} clients",
            f"{stored.rates}; {len(set(numbers))} events of {stored.units:.0f} requests",
            f"{dropped.rates}, events dropped",
            "none lost, none twice",
            complete,
        )
    ]


async def _request_numbers(bus: Bus) -> list[int]:
    """Sequence numbers of the events of requests in the stream."""
    numbers = []
    async with asyncio.timeout(_FLUSH_SECONDS):
        async for message in bus.replay([egress_event("demo", _SANDBOX)]):
            event = EgressEvent.decode(message.data)
            if event.kind == "request":
                numbers.append(event.seq)
            if not message.pending:
                break
    return numbers
