"""The bus over NATS JetStream: publish, consume, replay, ask and answer, keys, blobs."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nats
import nats.errors
import nats.micro
import structlog
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, ObjectMeta
from nats.js.errors import APIError, KeyNotFoundError, ObjectNotFoundError
from nats.micro.request import Request
from pydantic import TypeAdapter, ValidationError

from airut_common.bus import topology
from airut_common.bus.deliver import Delivery, deliver
from airut_common.bus.errors import BusTooOld, BusUnavailable
from airut_common.bus.pull import PullBroken, pull
from airut_common.bus.soon import SoonBuffer
from airut_common.contracts.v1 import BlobRef, Message, Refused, new_id

SERVER_FLOOR = (2, 11)
"""Older servers silently ignore per-key TTL and lack what the streams are configured with."""
CONNECT_SECONDS = 15.0
RETRY_SECONDS = 0.25
SLOWEST_RETRY_SECONDS = 2.0
FOLLOW_BATCH = 256
FORGET_FOLLOWER_SECONDS = 60.0

log = structlog.get_logger()

#: What nats-py raises when the server is away, slow, or has lost the stream for a moment.
_AWAY = (
    nats.errors.Error,
    APIError,
    asyncio.TimeoutError,
    OSError,
    PullBroken,
)


@dataclass(frozen=True)
class StoredMessage:
    """A message of a stream."""

    subject: str
    data: bytes
    sequence: int
    stored_at: datetime
    pending: int
    """How many are already stored behind it."""


@dataclass(frozen=True)
class KvEntry:
    """A key's value; None means that it was deleted."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True)
class Endpoint:
    """One question that a service answers. The handler's exceptions become `Refused`."""

    subject: str
    model: type[Message]
    handler: Callable[[Message], Awaitable[Message]]


class Bus:
    """One connection. Survives the server's death and return."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self._js = client.jetstream(timeout=CONNECT_SECONDS)
        self._soon = SoonBuffer(self._publish_bytes)

    # -- streams ------------------------------------------------------------------------------------------

    async def ensure_topology(self) -> None:
        """Create streams, buckets and consumers (identity `admin`)."""
        await topology.ensure_streams(self._js)

    async def publish(
        self, subject: str, message: Message, *, msg_id: str | None = None, timeout_seconds: float = 5
    ) -> None:
        """Store a message; returns after the server's acknowledgement. The same `msg_id` is stored once.

        Raises:
            BusUnavailable: no acknowledgement in time.
        """
        await self._publish_bytes(subject, message.encode(), msg_id or uuid.uuid4().hex, timeout_seconds)

    def publish_soon(self, subject: str, message: Message) -> bool:
        """Store a message in the background, in order; never blocks. False: the buffer was full, it is lost."""
        return self._soon.put(subject, message.encode())

    async def flush_soon(self, timeout_seconds: float) -> bool:
        """Wait until everything given to `publish_soon` is stored; False when time was too short."""
        return await self._soon.flush(timeout_seconds)

    async def _publish_bytes(self, subject: str, data: bytes, msg_id: str, timeout_seconds: float) -> None:
        # Retried with the same id: when only the acknowledgement was lost, the stream drops the second copy.
        last: BaseException | None = None
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    try:
                        await self._js.publish(subject, data, timeout=2, headers={"Nats-Msg-Id": msg_id})
                    except _AWAY as error:
                        last = error
                        await asyncio.sleep(RETRY_SECONDS)
                    else:
                        return
        except TimeoutError:
            raise BusUnavailable(f"{subject} was not stored within {timeout_seconds:g} s: {last!r}") from None

    async def consume[M: Message](
        self,
        consumer: topology.Consumer,
        model: type[M],
        handler: Callable[[M], Awaitable[None]],
        *,
        concurrency: int = 1,
    ) -> None:
        """Hand each message of a work queue to `handler`, until cancelled.

        Return acknowledges; `Retry` and `Reject` say so; any other exception is a bug, logged, and tried again later.
        """
        delivery = Delivery(consumer, model, handler, self._publish_bytes)
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._consume_forever(delivery))

    async def _consume_forever[M: Message](self, delivery: Delivery[M]) -> None:
        consumer, delay = delivery.consumer, RETRY_SECONDS
        while True:
            try:
                async for message in pull(self.client, consumer.stream, consumer.name, batch=1):
                    delay = RETRY_SECONDS
                    await deliver(message, delivery)
            except _AWAY as error:
                log.info("consumer_reconnects", consumer=consumer.name, reason=str(error) or repr(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, SLOWEST_RETRY_SECONDS)

    async def replay(self, subjects: Sequence[str]) -> AsyncIterator[StoredMessage]:
        """Events of these subjects from the beginning, then as they come. Survives reconnects without gap or repeat."""
        last = 0

        def start() -> ConsumerConfig:
            return ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=last + 1,
                filter_subjects=list(subjects),
            )

        async for message in self._follow(topology.EVENTS.name, start):
            if message is not None and message.sequence > last:
                last = message.sequence
                yield message

    async def _follow(
        self, stream: str, start: Callable[[], ConsumerConfig]
    ) -> AsyncIterator[StoredMessage | None]:
        """Messages of an ephemeral consumer, made anew after each break; None says that the past has been told."""
        delay = RETRY_SECONDS
        while True:
            try:
                settings = start().evolve(
                    name=f"{self.name}-{new_id()[:12]}",
                    ack_policy=AckPolicy.NONE,
                    inactive_threshold=FORGET_FOLLOWER_SECONDS,
                    mem_storage=True,
                )
                info = await self._js.add_consumer(stream, settings)
                caught_up = not info.num_pending
                if caught_up:
                    yield None
                async for message in pull(self.client, stream, info.name, batch=FOLLOW_BATCH):
                    delay = RETRY_SECONDS
                    about = message.metadata
                    yield StoredMessage(
                        message.subject,
                        message.data,
                        about.sequence.stream,
                        about.timestamp,
                        about.num_pending,
                    )
                    if not caught_up and about.num_pending == 0:
                        caught_up = True
                        yield None
            except _AWAY as error:
                log.info("follower_reconnects", stream=stream, reason=str(error) or repr(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, SLOWEST_RETRY_SECONDS)

    async def stream_size(self, stream: str) -> int:
        """Number of messages stored.

        Raises:
            BusUnavailable: no answer.
        """
        try:
            info = await self._js.stream_info(stream)
        except _AWAY as error:
            raise BusUnavailable(f"stream {stream}: {error!r}") from error
        return int(info.state.messages)

    # -- questions and answers ----------------------------------------------------------------------------

    async def request[M: Message](
        self, subject: str, message: Message, answer: type[M], *, timeout_seconds: float
    ) -> M | Refused:
        """Ask a service.

        Raises:
            BusUnavailable: nobody answered in time, or what came back is no answer.
        """
        try:
            reply = await self.client.request(subject, message.encode(), timeout=timeout_seconds)
            adapter: TypeAdapter[M | Refused] = TypeAdapter(Refused | answer)  # type: ignore[arg-type]
            return adapter.validate_json(reply.data)
        except (*_AWAY, ValidationError) as error:
            raise BusUnavailable(f"{subject}: {error!r}") from None

    @asynccontextmanager
    async def serve(self, name: str, endpoints: Mapping[str, Endpoint]) -> AsyncIterator[None]:
        """Answer questions (NATS micro, ADR-32) while the context is open."""
        service = await nats.micro.add_service(self.client, name=name, version="1.0.0", description="")
        for label, endpoint in endpoints.items():
            await service.add_endpoint(name=label, subject=endpoint.subject, handler=_answerer(endpoint))
        # Only now can others reach it: a question asked after this point finds somebody.
        await self.client.flush()
        try:
            yield
        finally:
            if not self.client.is_closed:
                await service.stop()

    async def listen(self, subject: str) -> AsyncIterator[bytes]:
        """What is published on a subject from now on; nothing of the past, and nothing while disconnected."""
        subscription = await self.client.subscribe(subject)
        try:
            async for message in subscription.messages:
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
        try:
            entry = await (await self._js.key_value(bucket)).get(key)
        except KeyNotFoundError:
            return None
        except _AWAY as error:
            raise BusUnavailable(f"{bucket}/{key}: {error!r}") from error
        return KvEntry(key, entry.value or b"", int(entry.revision or 0))

    async def kv_put(self, bucket: str, key: str, value: bytes) -> None:
        """Write a key.

        Raises:
            BusUnavailable: no acknowledgement.
        """
        try:
            await self._js.publish(f"$KV.{bucket}.{key}", value)
        except _AWAY as error:
            raise BusUnavailable(f"{bucket}/{key}: {error!r}") from error

    async def kv_delete(self, bucket: str, key: str) -> None:
        """Delete a key; deleting one that is not there is fine.

        Raises:
            BusUnavailable: no acknowledgement.
        """
        try:
            await self._js.publish(f"$KV.{bucket}.{key}", headers={"KV-Operation": "DEL"})
        except _AWAY as error:
            raise BusUnavailable(f"{bucket}/{key}: {error!r}") from error

    async def kv_watch(self, bucket: str, pattern: str = ">") -> AsyncIterator[KvEntry | None]:
        """The newest value of every key, then each change. None says that all present keys have been told; it
        comes again, after the values themselves, when the connection was lost in between."""
        prefix = f"$KV.{bucket}."

        def start() -> ConsumerConfig:
            return ConsumerConfig(
                deliver_policy=DeliverPolicy.LAST_PER_SUBJECT, filter_subject=prefix + pattern
            )

        async for message in self._follow(f"KV_{bucket}", start):
            if message is None:
                yield None
            else:
                yield KvEntry(message.subject.removeprefix(prefix), message.data, message.sequence)

    # -- blobs ------------------------------------------------------------------------------------------------

    async def put_blob(self, data: bytes, *, name: str, media_type: str) -> BlobRef:
        """Store bytes under a generated name; `name` is only for people.

        Raises:
            BusUnavailable: not stored.
        """
        blob = new_id()
        try:
            store = await self._js.object_store(topology.BLOB_BUCKET)
            await store.put(blob, data, meta=ObjectMeta(name=blob))
        except _AWAY as error:
            raise BusUnavailable(f"blob of {len(data)} bytes: {error!r}") from error
        return BlobRef(
            blob=blob,
            name=name,
            media_type=media_type,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )

    async def get_blob(self, ref: BlobRef) -> bytes:
        """The bytes of a reference.

        Raises:
            BusUnavailable: no answer.
            LookupError: the blob is gone, or is not what the reference says.
        """
        try:
            store = await self._js.object_store(topology.BLOB_BUCKET)
            data = bytes((await store.get(ref.blob)).data or b"")
        except ObjectNotFoundError:
            raise LookupError(f"{ref.name}: the stored file is gone") from None
        except _AWAY as error:
            raise BusUnavailable(f"blob {ref.blob}: {error!r}") from error
        if len(data) != ref.size_bytes or hashlib.sha256(data).hexdigest() != ref.sha256:
            raise LookupError(f"{ref.name}: the stored file is not the one that was sent")
        return data

    async def close(self) -> None:
        """Flush the background buffer for a moment and hang up."""
        await self._soon.close(timeout_seconds=2)
        await self.client.close()


def _answerer(endpoint: Endpoint) -> Callable[[Request], Awaitable[None]]:
    async def answer(request: Request) -> None:
        try:
            question = endpoint.model.decode(request.data)
        except ValidationError as error:
            await request.respond(Refused(code="bad_request", text=str(error)).encode())
            return
        try:
            response = await endpoint.handler(question)
        except Exception:
            log.exception("answer_failed", subject=endpoint.subject)
            response = Refused(code="internal", text="the service failed; its log has the reason")
        await request.respond(response.encode())

    return answer


@asynccontextmanager
async def open_bus(
    url: str,
    *,
    name: str,
    nkey_seed_file: Path | None,
    on_closed: Callable[[], None] | None = None,
) -> AsyncIterator[Bus]:
    """Connect and, at the end, hang up. Reconnects for ever in between; `on_closed` tells when nats-py gave up.

    Raises:
        BusUnavailable: no connection within `CONNECT_SECONDS`, or the identity was refused.
        BusTooOld: the server is older than `SERVER_FLOOR`.
    """
    client = Client()

    async def closed() -> None:
        if on_closed is not None:
            on_closed()

    async def error(problem: Exception) -> None:
        log.info("bus_trouble", reason=str(problem) or repr(problem))

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.connect(
                servers=[url],
                name=name,
                nkeys_seed=str(nkey_seed_file) if nkey_seed_file is not None else None,
                inbox_prefix=f"_INBOX_{name}".encode(),
                max_reconnect_attempts=-1,
                reconnect_time_wait=RETRY_SECONDS,  # type: ignore[arg-type]  # sleeps for it; a fraction works
                ping_interval=10,
                max_outstanding_pings=2,
                error_cb=error,
                closed_cb=closed,
            )
    except (*_AWAY, TimeoutError) as problem:
        await client.close()
        raise BusUnavailable(f"no connection to {url}: {problem!r}") from None
    try:
        found = client.connected_server_version
        if (found.major, found.minor) < SERVER_FLOOR:
            raise BusTooOld(
                f"nats-server {found} is too old: Airut needs {'.'.join(map(str, SERVER_FLOOR))} or newer"
            )
        bus = Bus(client, name)
    except BaseException:
        await client.close()
        raise
    try:
        yield bus
    finally:
        await bus.close()
