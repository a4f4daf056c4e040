"""Connections to upstreams: the name is resolved here, every answer is tested, and what was tested is dialled."""

import asyncio
from typing import Final

from airut_egress.resolver import Resolver, UpstreamRefused, UpstreamUnknown

_DIAL_SECONDS: Final = 10.0
_TRY_SECONDS: Final = 4.0
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class DialFailed(Exception):
    """No connection. `obstacle`: `upstream-refused`, `upstream-unknown` or `upstream-unreachable`."""

    def __init__(self, obstacle: str, text: str) -> None:
        super().__init__(text)
        self.obstacle = obstacle


async def dial(resolver: Resolver, host: str, port: int) -> Streams:
    """Connect to a canonical host, trying its addresses in turn.

    Raises:
        DialFailed: the address is refused, unknown, or nobody answers there.
    """
    try:
        targets = await resolver.resolve(host, port)
    except UpstreamRefused as error:
        raise DialFailed("upstream-refused", str(error)) from None
    except UpstreamUnknown as error:
        raise DialFailed("upstream-unknown", str(error)) from None
    problem = "no answer"
    try:
        async with asyncio.timeout(_DIAL_SECONDS):
            for address, at_port in targets:
                try:
                    async with asyncio.timeout(_TRY_SECONDS):
                        return await asyncio.open_connection(address, at_port)
                except TimeoutError:
                    problem = "no answer"
                except OSError as error:
                    problem = error.strerror or type(error).__name__
    except TimeoutError:
        problem = "no answer"
    raise DialFailed("upstream-unreachable", problem)
