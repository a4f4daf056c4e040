"""One message of a work queue on its way through a handler: acknowledge, try again, or give up with a reason."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import nats.errors
import structlog
from nats.aio.msg import Msg
from pydantic import ValidationError

from airut_common.bus.errors import BusUnavailable, Reject, Retry
from airut_common.bus.topology import Consumer
from airut_common.contracts.v1 import DeadLetter, Message, utc_now
from airut_common.contracts.v1.subjects import dead_letter

AFTER_A_BUG_SECONDS = 5.0
MAX_DEAD_PAYLOAD = 64 * 1024
STORE_SECONDS = 5.0

log = structlog.get_logger()

Publisher = Callable[[str, bytes, str, float], Awaitable[None]]
"""subject, body, message id, seconds."""


@dataclass(frozen=True)
class Delivery[M: Message]:
    """How the messages of one consumer are handled."""

    consumer: Consumer
    model: type[M]
    handler: Callable[[M], Awaitable[None]]
    publish: Publisher


async def deliver[M: Message](message: Msg, how: Delivery[M]) -> None:
    """Handle one message. What happens to it afterwards is decided here and nowhere else."""
    about = message.metadata
    try:
        async with _in_progress(message, how.consumer.ack_wait.total_seconds() / 3):
            if about.num_delivered > how.consumer.max_deliveries:
                raise Reject(f"given up after {how.consumer.max_deliveries} tries")
            await how.handler(_decode(message.data, how.model))
    except Retry as later:
        log.info(
            "message_later", consumer=how.consumer.name, reason=str(later), after=later.after.total_seconds()
        )
        await message.nak(delay=later.after.total_seconds())
    except Reject as refusal:
        await _bury(message, how, str(refusal))
    except Exception:
        log.exception("handler_failed", consumer=how.consumer.name, sequence=about.sequence.stream)
        await message.nak(delay=AFTER_A_BUG_SECONDS)
    else:
        await message.ack()


def _decode[M: Message](data: bytes, model: type[M]) -> M:
    try:
        return model.decode(data)
    except ValidationError as error:
        raise Reject(f"not a {model.__name__}: {error}") from None


async def _bury[M: Message](message: Msg, how: Delivery[M], reason: str) -> None:
    """Dead letter first, then gone from the queue: a crash in between repeats the letter, which its id makes one."""
    log.warning("message_refused", consumer=how.consumer.name, reason=reason)
    letter = DeadLetter(
        stream=how.consumer.stream,
        subject=message.subject,
        reason=reason,
        at=utc_now(),
        payload=message.data[:MAX_DEAD_PAYLOAD].decode("utf-8", "replace"),
    )
    msg_id = f"dead-{how.consumer.stream}-{message.metadata.sequence.stream}"
    try:
        await how.publish(dead_letter(how.consumer.stream), letter.encode(), msg_id, STORE_SECONDS)
    except BusUnavailable:
        await message.nak(delay=AFTER_A_BUG_SECONDS)
    else:
        await message.term()


@asynccontextmanager
async def _in_progress(message: Msg, every_seconds: float) -> AsyncIterator[None]:
    """Tell the server that the message is still being worked on. A lost heartbeat shows as a redelivery only."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await message.in_progress()
            except nats.errors.Error as error:
                log.info("heartbeat_lost", reason=repr(error))

    task = asyncio.get_running_loop().create_task(beat(), name="in-progress")
    try:
        yield
    finally:
        task.cancel()
