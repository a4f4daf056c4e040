"""Reading a stream from its past into its present, through as many reconnects as it takes."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from airut_common.bus.errors import AWAY
from airut_common.bus.origin import published_by_a_service
from airut_common.bus.pull import pull
from airut_common.contracts.v1 import new_id

RETRY_SECONDS = 0.25
SLOWEST_RETRY_SECONDS = 2.0
BATCH = 256
FORGET_SECONDS = 60.0
"""The server forgets a consumer that nobody has read from for so long: none is left behind by a killed reader."""

log = structlog.get_logger()


@dataclass(frozen=True)
class StoredMessage:
    """A message of a stream."""

    subject: str
    data: bytes
    sequence: int
    stored_at: datetime
    pending: int
    """How many are already stored behind it."""
    headers: Mapping[str, str] = field(default_factory=dict)


async def follow(
    client: Client, js: JetStreamContext, name: str, stream: str, start: Callable[[], ConsumerConfig]
) -> AsyncGenerator[StoredMessage | None]:
    """Messages of an ephemeral consumer, made anew after each break from what `start` then says.

    None says that everything already stored has been told; it comes again after each break.
    """
    delay = RETRY_SECONDS
    while True:
        try:
            settings = start().evolve(
                name=f"{name}-{new_id()[:12]}",
                ack_policy=AckPolicy.NONE,
                inactive_threshold=FORGET_SECONDS,
                mem_storage=True,
            )
            info = await js.add_consumer(stream, settings)
            caught_up = not info.num_pending
            if caught_up:
                yield None
            async with aclosing(pull(client, stream, info.name, batch=BATCH)) as messages:
                async for message in messages:
                    delay = RETRY_SECONDS
                    about = message.metadata
                    if published_by_a_service(message.headers):
                        yield StoredMessage(
                            message.subject,
                            message.data,
                            about.sequence.stream,
                            about.timestamp,
                            about.num_pending,
                            message.headers or {},
                        )
                    else:
                        log.warning("foreign_message_ignored", stream=stream, subject=message.subject)
                    if not caught_up and about.num_pending == 0:
                        caught_up = True
                        yield None
        except AWAY as error:
            log.info("follower_reconnects", stream=stream, reason=str(error) or repr(error))
            await asyncio.sleep(delay)
            delay = min(delay * 2, SLOWEST_RETRY_SECONDS)
