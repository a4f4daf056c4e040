"""What the tests of attacks share."""

import asyncio

from airut_egress.testing.world import Sandbox, World

HOST = "api.example.test"
LEAF = f"Host: {HOST}\r\n"


async def denied(world: World, kind: str = "request", **expected: object):
    """The first event of a refusal, as it is expected."""
    event = await world.recorder.wait(lambda e: e.kind == kind and e.decision in {"deny", "error"})
    assert {name: getattr(event, name) for name in expected} == expected
    return event


async def is_reset(sandbox: Sandbox, name: str, port: int) -> bool:
    """Whether a connection is refused without a word, and at once."""
    sock = None
    try:
        async with asyncio.timeout(10):
            sock = await sandbox.dial(name, port)
            await asyncio.get_running_loop().sock_recv(sock, 1)
            return False
    except ConnectionResetError:
        return True
    finally:
        if sock is not None:
            sock.close()
