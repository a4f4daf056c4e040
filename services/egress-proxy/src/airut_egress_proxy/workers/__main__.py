"""`python -m airut_egress_proxy.workers DESCRIPTOR PARENT NUMBER`: one worker. Started by the service alone."""

import gc
import os
import signal
import socket
import sys

import structlog
import uvloop

from airut_common.hardening import die_with, forbid_dumps
from airut_egress_proxy.workers.worker import Worker


def main() -> None:
    """Serve until the service hangs up or ends."""
    descriptor, parent, worker = (int(argument) for argument in sys.argv[1:])
    forbid_dumps()
    die_with(parent)
    # A signal for the whole group is for the service: it stops its workers in order.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)

    async def run() -> None:
        await Worker(sock).run()
        # Connections of sandboxes end with the process; waiting for each of them would help nobody.
        os._exit(0)

    structlog.contextvars.bind_contextvars(worker=worker)
    gc.freeze()  # what is loaded by now stays, and the collector need not look at it
    uvloop.run(run())


if __name__ == "__main__":
    main()
