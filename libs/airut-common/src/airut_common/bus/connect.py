"""Getting on the bus: connect, refuse a server that lacks what we need, hang up in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from nats.aio.client import Client

from airut_common.bus.core import Bus
from airut_common.bus.errors import AWAY, BusTooOld, BusUnavailable
from airut_common.bus.follow import RETRY_SECONDS
from airut_common.bus.hangup import hang_up

SERVER_FLOOR = (2, 11)
"""Older servers silently ignore per-key TTL and lack what the streams are configured with."""
CONNECT_SECONDS = 15.0

log = structlog.get_logger()


@asynccontextmanager
async def open_bus(
    url: str,
    *,
    name: str,
    nkey_seed_file: Path | None,
    on_closed: Callable[[], None] | None = None,
) -> AsyncIterator[Bus]:
    """Connect and, at the end, hang up. Reconnects for ever in between; `on_closed` tells when nats-py gave up. `url`
    may name several servers of a cluster, with commas.

    Raises:
        BusUnavailable: no connection within `CONNECT_SECONDS`, or the identity was refused.
        BusTooOld: the server is older than `SERVER_FLOOR`.
    """
    client = Client()

    async def closed() -> None:
        if on_closed is not None:
            on_closed()

    async def error(problem: Exception) -> None:
        log.info("bus_trouble", reason=str(problem) or repr(problem))

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect(
                servers=url.split(","),
                name=name,
                nkeys_seed=str(nkey_seed_file) if nkey_seed_file is not None else None,
                inbox_prefix=f"_INBOX_{name}".encode(),
                max_reconnect_attempts=-1,
                reconnect_time_wait=RETRY_SECONDS,  # type: ignore[arg-type]  # sleeps for it; a fraction works
                ping_interval=10,
                max_outstanding_pings=2,
                error_cb=error,
                closed_cb=closed,
            )
    except AWAY as problem:
        await hang_up(client)
        raise BusUnavailable(f"no connection to {url}: {problem!r}") from None
    bus = Bus(client, name)
    try:
        require_floor(client.connected_server_version.major, client.connected_server_version.minor)
        yield bus
    finally:
        await bus.close()


def require_floor(major: int, minor: int) -> None:
    """Refuse a server that is too old.

    Raises:
        BusTooOld: naming both versions.
    """
    if (major, minor) < SERVER_FLOOR:
        floor = ".".join(map(str, SERVER_FLOOR))
        raise BusTooOld(f"nats-server {major}.{minor} is too old: Airut needs {floor} or newer")
