"""The messages of a work queue on their way through a handler: acknowledge, try again, or give up with a reason."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError

from airut_common.bus.earlier import Earlier
from airut_common.bus.errors import AWAY, BusUnavailable, Reject, Retry
from airut_common.bus.follow import RETRY_SECONDS, SLOWEST_RETRY_SECONDS
from airut_common.bus.origin import published_by_a_service
from airut_common.bus.pull import pull
from airut_common.bus.topology import Consumer
from airut_common.contracts.v1 import DeadLetter, Message, utc_now
from airut_common.contracts.v1.subjects import dead_letter

AFTER_A_BUG_SECONDS = 5.0
MAX_DEAD_PAYLOAD = 64 * 1024
MAX_REASON = 4096
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
    earlier: Earlier | None = None
    """Hands over first what somebody else was given before and has not acknowledged; None: in no order."""


class WorkQueue[M: Message]:
    """One reader of a consumer. What happens to a message is decided here and nowhere else.

    A message whose handler asked for `Retry` is held here, not given back: the server counts each delivery, and a
    database that is away for an hour must not use up the tries of every waiting message.
    """

    def __init__(self, delivery: Delivery[M], concurrency: int) -> None:
        self._how = delivery
        self._working = asyncio.Semaphore(concurrency)
        self._in_hand: set[int] = set()

    async def run(self, client: Client) -> None:
        """Take and handle messages until cancelled; what is in hand then is given back at once."""
        consumer, delay = self._how.consumer, RETRY_SECONDS
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    async with aclosing(pull(client, consumer.stream, consumer.name, batch=1)) as messages:
                        async for message in messages:
                            delay = RETRY_SECONDS
                            if message.metadata.sequence.stream in self._in_hand:
                                continue  # the server came back and delivered again what we are still working on
                            await self._hand_over_earlier(message.metadata.sequence.stream)
                            self._in_hand.add(message.metadata.sequence.stream)
                            group.create_task(self._settle(message))
                            await self._until_one_more_fits()
                except AWAY as error:
                    log.info("consumer_reconnects", consumer=consumer.name, reason=str(error) or repr(error))
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, SLOWEST_RETRY_SECONDS)

    async def _hand_over_earlier(self, sequence: int) -> None:
        """What comes first is handled first, also if it will be delivered (again) later: then it is known already."""
        if self._how.earlier is None:
            return
        async with aclosing(self._how.earlier.than(sequence)) as messages:
            async for message in messages:
                if message.seq in self._in_hand:
                    continue
                try:
                    await self._how.handler(self._decode(message.headers, message.data or b""))
                except (Retry, Reject) as error:
                    # Its own delivery settles it, with everything that belongs to that.
                    log.info("earlier_message_later", sequence=message.seq, reason=str(error))
                except Exception:
                    log.exception("handler_failed", consumer=self._how.consumer.name, sequence=message.seq)

    async def _until_one_more_fits(self) -> None:
        """A message is asked for only when it can be worked on: what waits, waits where others can take it."""
        await asyncio.sleep(0)  # lets the new task take its place first
        async with self._working:
            return

    async def _settle(self, message: Msg) -> None:
        """Work on one message until it is done with."""
        try:
            async with _in_progress(message, self._how.consumer.ack_wait.total_seconds() / 3):
                while True:
                    async with self._working:
                        later = await self._try(message)
                    if later is None:
                        return
                    await asyncio.sleep(later)
        except asyncio.CancelledError:
            # Best effort: without it the server waits `ack_wait` before it gives the message to somebody else.
            with contextlib.suppress(*AWAY):
                await message.nak()
            raise
        except AWAY as error:
            # Not known to the server, so it will deliver again: that is what handlers are idempotent for.
            log.info("acknowledgement_lost", consumer=self._how.consumer.name, reason=repr(error))
        finally:
            self._in_hand.discard(message.metadata.sequence.stream)

    async def _try(self, message: Msg) -> float | None:
        """Hand the message over once; seconds to wait when it is to be handed over again."""
        consumer, about = self._how.consumer, message.metadata
        try:
            if about.num_delivered > consumer.max_deliveries:
                raise Reject(f"given up after {consumer.max_deliveries} deliveries")
            await self._how.handler(self._decode(message.headers, message.data))
        except Retry as later:
            if utc_now() - about.timestamp < consumer.give_up_after:
                log.info("message_later", consumer=consumer.name, reason=str(later), seconds=_seconds(later))
                return _seconds(later)
            await self._bury(message, f"given up after {consumer.give_up_after}: {later}")
        except Reject as refusal:
            await self._bury(message, str(refusal))
        except Exception as bug:
            log.exception("handler_failed", consumer=consumer.name, sequence=about.sequence.stream)
            if about.num_delivered >= consumer.max_deliveries:
                await self._bury(message, f"failed {about.num_delivered} times, at last with {bug!r}")
            else:
                await message.nak(delay=AFTER_A_BUG_SECONDS)
        else:
            await message.ack()
        return None

    def _decode(self, headers: Mapping[str, str] | None, data: bytes) -> M:
        if not published_by_a_service(headers):
            raise Reject("not published by a service of this installation")
        try:
            return self._how.model.decode(data)
        except ValidationError as error:
            raise Reject(f"not a {self._how.model.__name__}: {error}") from None

    async def _bury(self, message: Msg, reason: str) -> None:
        """Dead letter first, then gone from the queue: a crash in between repeats the letter, its id makes it one."""
        stream = self._how.consumer.stream
        log.warning("message_refused", consumer=self._how.consumer.name, reason=reason)
        letter = DeadLetter(
            stream=stream,
            subject=message.subject,
            reason=reason[:MAX_REASON],
            at=utc_now(),
            payload=message.data[:MAX_DEAD_PAYLOAD].decode("utf-8", "replace"),
        )
        msg_id = f"dead-{stream}-{message.metadata.sequence.stream}"
        try:
            await self._how.publish(dead_letter(stream), letter.encode(), msg_id, STORE_SECONDS)
        except BusUnavailable:
            await message.nak(delay=AFTER_A_BUG_SECONDS)
        else:
            await message.term()


def _seconds(later: Retry) -> float:
    return later.after.total_seconds()


@asynccontextmanager
async def _in_progress(message: Msg, every_seconds: float) -> AsyncIterator[None]:
    """Tell the server that the message is still being worked on. A lost heartbeat shows as a redelivery only."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await message.in_progress()
            except AWAY as error:
                log.info("heartbeat_lost", reason=repr(error))

    task = asyncio.get_running_loop().create_task(beat(), name="in-progress")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
