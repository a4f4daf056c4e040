"""The bus over NATS JetStream: publish, consume, replay, ask and answer, keys, blobs."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, BinaryIO

from nats.aio.client import Client
from nats.errors import MaxPayloadError
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import BadRequestError, NotFoundError

from airut_common.bus import answers, blobs, topology
from airut_common.bus.answers import Endpoint
from airut_common.bus.deliver import Delivery, WorkQueue
from airut_common.bus.earlier import Earlier
from airut_common.bus.errors import AWAY, BusUnavailable, MessageTooLarge
from airut_common.bus.follow import RETRY_SECONDS, StoredMessage, follow
from airut_common.bus.hangup import hang_up
from airut_common.bus.keys import EXPECTED_REVISION, Keys, KvEntry
from airut_common.bus.origin import MESSAGE_ID, published_by_a_service
from airut_common.bus.soon import SoonBuffer
from airut_common.contracts.v1 import BlobRef, Message, Refused

API_SECONDS = 10.0
ATTEMPT_SECONDS = 2.0
SOON_AT_STOP_SECONDS = 2.0


class Bus:
    """One connection. Survives the server's death and return."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self._js = client.jetstream(timeout=API_SECONDS)
        self._keys = Keys(client, self._js, name, self._store)
        self._soon = SoonBuffer(self._store_once)

    # -- streams ------------------------------------------------------------------------------------------

    async def ensure_topology(self, replicas: int = 1) -> None:
        """Create streams, buckets and consumers (identity `admin`), each held by so many servers of a cluster.

        Raises:
            BusUnavailable: no answer, or the cluster has no leader yet.
        """
        try:
            await topology.ensure_streams(self._js, replicas)
        except AWAY as error:
            raise BusUnavailable(f"streams cannot be made: {error!r}") from error

    async def publish(
        self, subject: str, message: Message, *, msg_id: str | None = None, timeout_seconds: float = 5
    ) -> None:
        """Store a message; returns after the server's acknowledgement. The same `msg_id` is stored once.

        Raises:
            BusUnavailable: no acknowledgement in time.
            MessageTooLarge: the bus will never take it.
        """
        headers = {MESSAGE_ID: msg_id} if msg_id is not None else {}
        await self._store(subject, message.encode(), headers, timeout_seconds)

    def publish_soon(self, subject: str, message: Message, *, msg_id: str | None = None) -> bool:
        """Store a message in the background, in order; never blocks. False: the buffer was full, it is lost. The same
        `msg_id` is stored once."""
        return self._soon.put(subject, message.encode(), msg_id)

    def publish_soon_encoded(self, subject: str, data: bytes) -> bool:
        """As `publish_soon`, for a message that another process has encoded."""
        return self._soon.put(subject, data)

    async def flush_soon(self, timeout_seconds: float) -> bool:
        """Wait until everything given to `publish_soon` is stored; False when time was too short."""
        return await self._soon.flush(timeout_seconds)

    async def consume[M: Message](
        self,
        consumer: topology.Consumer,
        model: type[M],
        handler: Callable[[M], Awaitable[None]],
        *,
        concurrency: int = 1,
        in_order: bool = False,
    ) -> None:
        """Hand each message of a work queue to `handler`, until cancelled.

        Return acknowledges. `Retry` hands the same message over again later, for as long as `consumer.give_up_after`
        allows. `Reject`, what cannot be decoded, and what failed or was lost with its process `consumer.max_deliveries`
        times become dead letters. Any other exception is a bug: logged, and tried again a little later.

        At least once: a message may come again after a crash, so handlers are idempotent by its id. With `in_order`,
        a message that was given to another reader before, and has not been acknowledged, is handed over before those
        behind it; it may then be handled by both.
        """

        async def store(subject: str, body: bytes, msg_id: str, seconds: float) -> None:
            await self._store(subject, body, {MESSAGE_ID: msg_id}, seconds)

        earlier = Earlier(self._js, consumer.stream, consumer.filter_subject) if in_order else None
        await WorkQueue(Delivery(consumer, model, handler, store, earlier), concurrency).run(self.client)

    async def replay(self, subjects: Sequence[str]) -> AsyncGenerator[StoredMessage]:
        """Events of these subjects from the beginning, then as they come, each once, through all reconnects."""
        last = 0

        def start() -> ConsumerConfig:
            return ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=last + 1,
                filter_subjects=list(subjects),
            )

        async with aclosing(
            follow(self.client, self._js, self.name, topology.EVENTS.name, start)
        ) as messages:
            async for message in messages:
                if message is not None and message.sequence > last:
                    last = message.sequence
                    yield message

    async def stream_size(self, stream: str) -> int:
        """Number of messages stored.

        Raises:
            BusUnavailable: no answer.
        """
        try:
            info = await self._js.stream_info(stream)
        except AWAY as error:
            raise BusUnavailable(f"stream {stream}: {error!r}") from error
        return int(info.state.messages)

    async def newest(self, stream: str, count: int) -> list[bytes]:
        """Up to `count` of the last messages of a stream, newest first.

        Raises:
            BusUnavailable: no answer.
        """
        found: list[bytes] = []
        try:
            state = (await self._js.stream_info(stream)).state
            for sequence in range(state.last_seq, max(state.first_seq - 1, state.last_seq - count, 0), -1):
                with contextlib.suppress(NotFoundError):  # it has aged out meanwhile
                    found.append((await self._js.get_msg(stream, sequence)).data or b"")
        except AWAY as error:
            raise BusUnavailable(f"stream {stream}: {error!r}") from error
        return found

    async def _store(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
    ) -> int:
        # Retried with the same id: when only the acknowledgement was lost, the stream drops the second copy.
        named = {MESSAGE_ID: uuid.uuid4().hex, **headers}
        last: BaseException | None = None
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    try:
                        return await self._attempt(subject, body, named)
                    except BusUnavailable as error:
                        last = error
                        await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            raise BusUnavailable(f"{subject} was not stored within {timeout_seconds:g} s: {last}") from None

    async def _store_once(self, subject: str, body: bytes, msg_id: str) -> None:
        await self._attempt(subject, body, {MESSAGE_ID: msg_id})

    async def _attempt(self, subject: str, body: bytes, headers: Mapping[str, str]) -> int:
        try:
            stored = await self._js.publish(subject, body, timeout=ATTEMPT_SECONDS, headers=dict(headers))
        except MaxPayloadError:
            raise MessageTooLarge(f"{subject}: {len(body)} bytes are more than the bus takes") from None
        except AWAY as error:
            if isinstance(error, BadRequestError) and EXPECTED_REVISION in headers:
                raise
            raise BusUnavailable(f"{subject}: {error!r}") from None
        return int(stored.seq)

    # -- questions and answers ----------------------------------------------------------------------------

    async def request[M: Message](
        self, subject: str, message: Message, answer: type[M], *, timeout_seconds: float
    ) -> M | Refused:
        """Ask a service. Without anybody listening there it fails at once, not after the timeout.

        Raises:
            BusUnavailable: nobody answered in time, or what came back is no answer.
        """
        return await answers.ask(self.client, subject, message, answer, timeout_seconds)

    def serve(self, name: str, endpoints: Mapping[str, Endpoint[Any]]) -> AbstractAsyncContextManager[None]:
        """Answer questions (NATS micro, ADR-32) while the context is open, several at a time."""
        return answers.serve(self.client, name, endpoints)

    async def listen(self, subject: str) -> AsyncIterator[bytes]:
        """What is published on a subject from now on; nothing of the past, and nothing while disconnected."""
        subscription = await self.client.subscribe(subject)
        try:
            async for message in subscription.messages:
                if published_by_a_service(message.headers):
                    yield message.data
        finally:
            if not self.client.is_closed:
                await subscription.unsubscribe()

    # -- keys -----------------------------------------------------------------------------------------------

    async def kv_get(self, bucket: str, key: str) -> KvEntry | None:
        """The newest value of a key; None when there is none.

        Raises:
            BusUnavailable: no answer.
        """
        return await self._keys.get(bucket, key)

    async def kv_put(self, bucket: str, key: str, value: bytes) -> int:
        """Write a key and return its revision.

        Raises:
            BusUnavailable: no acknowledgement.
        """
        return await self._keys.put(bucket, key, value)

    async def kv_create(self, bucket: str, key: str, value: bytes) -> int | None:
        """Write a key only if it has no value, and return its revision; None when it has one.

        Raises:
            BusUnavailable: no acknowledgement.
        """
        return await self._keys.create(bucket, key, value)

    async def kv_delete(self, bucket: str, key: str) -> None:
        """Delete a key; deleting one that is not there is fine.

        Raises:
            BusUnavailable: no acknowledgement.
        """
        await self._keys.delete(bucket, key)

    def kv_watch(self, bucket: str, pattern: str = ">") -> AsyncGenerator[KvEntry | None]:
        """The newest value of every key, then each change. None says that all present keys have been told; it
        comes again, after the values themselves, when the connection was lost in between."""
        return self._keys.watch(bucket, pattern)

    # -- blobs ------------------------------------------------------------------------------------------------

    async def put_blob(self, data: bytes, *, name: str, media_type: str) -> BlobRef:
        """Store bytes under a generated name; `name` is only for people.

        Raises:
            BusUnavailable: not stored.
        """
        return await blobs.put_blob(self._js, data, name=name, media_type=media_type)

    async def put_file(self, file: BinaryIO, *, name: str, media_type: str) -> BlobRef:
        """The same for what is left of a file, which is never held whole.

        Raises:
            BusUnavailable: not stored.
        """
        return await blobs.put_file(self._js, file, name=name, media_type=media_type)

    async def get_blob(self, ref: BlobRef) -> bytes:
        """The bytes of a reference.

        Raises:
            BusUnavailable: no answer.
            LookupError: the blob is gone, or is not what the reference says.
        """
        return await blobs.get_blob(self._js, ref)

    async def close(self) -> None:
        """Flush the background buffer for a moment and hang up."""
        await self._soon.close(SOON_AT_STOP_SECONDS)
        await hang_up(self.client)
