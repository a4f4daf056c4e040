"""What a work queue still holds before a message: delivered once, to somebody who has not acknowledged it.

The server delivers such a message again only after `ack_wait`, and everything behind it meanwhile. For who has to keep
an order, that is too late.
"""

import asyncio
from collections.abc import AsyncGenerator

import structlog
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from airut_common.bus.errors import AWAY
from airut_common.bus.follow import RETRY_SECONDS, SLOWEST_RETRY_SECONDS

log = structlog.get_logger()


class Earlier:
    """Looks only where a sequence number is missing: one that this reader has seen needs no second look."""

    def __init__(self, js: JetStreamContext, stream: str, subject: str) -> None:
        self._js = js
        self._stream = stream
        self._subject = subject
        self._seen = 0

    async def than(self, sequence: int) -> AsyncGenerator[RawStreamMsg]:
        """Messages before `sequence` that nobody has acknowledged and this reader has not seen, in order. Waits for a
        server that is away."""
        while self._seen < sequence - 1:
            found = await self._next(self._seen + 1)
            if found is None or found.seq is None or found.seq >= sequence:
                break
            self._seen = found.seq
            yield found
        self._seen = max(self._seen, sequence)

    async def _next(self, sequence: int) -> RawStreamMsg | None:
        delay = RETRY_SECONDS
        while True:
            try:
                return await self._js.get_msg(self._stream, seq=sequence, subject=self._subject, next=True)
            except NotFoundError:
                return None
            except AWAY as error:
                log.info("order_waits", stream=self._stream, reason=repr(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, SLOWEST_RETRY_SECONDS)
