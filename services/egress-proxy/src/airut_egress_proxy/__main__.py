"""`python -m airut_egress_proxy`: the network of this host's sandboxes."""

import asyncio
import sys

import uvloop

from airut_common.lifecycle import run_service
from airut_egress_proxy.app import SERVICE, run


def main() -> int:
    """Run until asked to stop; the exit code."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return run_service(SERVICE, run)


if __name__ == "__main__":
    sys.exit(main())
