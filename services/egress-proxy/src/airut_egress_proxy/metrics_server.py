"""`GET /metrics` on an address of its own. Whoever can reach it is told names of repositories, and numbers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_MAX_CONNECTIONS: Final = 16
_STOP_SECONDS: Final = 2


@asynccontextmanager
async def serve_metrics(listen: str, registry: CollectorRegistry) -> AsyncIterator[str]:
    """Answer while the context is open; gives the URL.

    Args:
        listen: `host:port`; port 0 takes a free one.

    Raises:
        OSError: the address cannot be had.
    """

    async def metrics(_request: Request) -> Response:
        # In a thread: the loop is the sandboxes'.
        text = await asyncio.to_thread(generate_latest, registry)
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    server = uvicorn.Server(
        uvicorn.Config(
            Starlette(routes=[Route("/metrics", metrics)]),
            access_log=False,
            log_config=None,
            lifespan="off",
            ws="none",
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=_STOP_SECONDS,
            server_header=False,
        )
    )
    with _listener(listen) as listener:
        # Signals are the lifecycle's: uvicorn's own handlers would end the process past the ordered stop.
        serving = asyncio.get_running_loop().create_task(server._serve([listener]), name="metrics")
        try:
            host, port = listener.getsockname()[:2]
            yield f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"
        finally:
            server.should_exit = True
            await serving


def _listener(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=_MAX_CONNECTIONS)
