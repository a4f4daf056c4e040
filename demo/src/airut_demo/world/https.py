"""An ASGI application behind TLS on a free loopback port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from airut_demo.world.tls import HostFiles


@asynccontextmanager
async def serve_https(application: Any, files: HostFiles) -> AsyncIterator[str]:
    """Serve while the context is open; yields `127.0.0.1:port`."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            ssl_certfile=str(files.certificate),
            ssl_keyfile=str(files.key),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )
    # Not serve(): that would take over the process's signal handlers.
    task = asyncio.get_running_loop().create_task(server._serve([listener]))
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()
