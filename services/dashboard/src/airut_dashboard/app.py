"""The wiring: events from the bus into the read model, the model to browsers."""

import asyncio
import contextlib
import socket

import structlog
import uvicorn

from airut_common.bus import Bus
from airut_common.config.models import open_networks
from airut_common.config.store import watch_config
from airut_common.contracts.v1 import ServiceEvent
from airut_common.lifecycle import Service
from airut_dashboard.decode import decode_event
from airut_dashboard.feed import Feed
from airut_dashboard.model import ReadModel
from airut_dashboard.security import require_loopback
from airut_dashboard.stopping import stop_over
from airut_dashboard.web import build_web

EVENT_SUBJECTS = ("airut.v1.event.>",)
SHUTDOWN_SECONDS = 3

log = structlog.get_logger()


async def run(service: Service) -> None:
    """Serve until the service is asked to stop.

    Raises:
        ExposedAddress: when the configured address is not loopback.
    """
    model, feed, caught_up = ReadModel(), Feed(), asyncio.Event()
    service.spawn("events", follow_events(service.bus, model, feed, caught_up))
    config = await service.exit_stack.enter_async_context(watch_config(service.bus))
    settings = config.server.dashboard
    host, _, port = settings.listen.rpartition(":")
    host = host.strip("[]")
    require_loopback(host)
    server = uvicorn.Server(
        uvicorn.Config(
            build_web(
                model,
                feed,
                public_url=settings.public_url,
                stop=stop_over(service.bus),
                open_networks=lambda: open_networks(config.repos),
            ),
            access_log=False,
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            server_header=False,
        )
    )
    with contextlib.closing(_listener(host, int(port))) as listener:
        # Pages that would show half the history are worse than pages that appear a moment later.
        await caught_up.wait()
        address = "http://{}:{}".format(*listener.getsockname()[:2])
        service.spawn("http", _serve(server, listener))
        await service.ready({"http": address})
        await service.stopping.wait()
        feed.close()
        server.should_exit = True


async def follow_events(bus: Bus, model: ReadModel, feed: Feed, caught_up: asyncio.Event) -> None:
    """Read the event stream from its beginning, then live; set `caught_up` when the past is in."""
    if await bus.stream_size("AIRUT_EVENTS") == 0:
        caught_up.set()
    async for message in bus.replay(EVENT_SUBJECTS):
        event = decode_event(message.subject, message.data)
        match event:
            case None:
                log.warning("event_unreadable", subject=message.subject, sequence=message.sequence)
            case ServiceEvent():
                model.apply_service(event)
            case _:
                feed.publish(model.apply(message.sequence, event))
        if message.pending == 0:
            caught_up.set()


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    # Signals are the lifecycle's: uvicorn's own handlers would end the process past the ordered stop.
    await server._serve([listener])


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)
