"""Streams, buckets and durable consumers: their names, and the one place that creates them.

Only the `admin` identity may create them; services find them there or do not start.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    KeyValueConfig,
    ObjectStoreConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

CONFIG_BUCKET: Final = "airut_config"
SEALED_BUCKET: Final = "airut_sealed"
STATUS_BUCKET: Final = "airut_status"
BLOB_BUCKET: Final = "airut_blobs"


def status_key(service: str, host: str = "local") -> str:
    """Where a service says in `airut_status` that it works; each host has services of its own."""
    return f"{service}.{host}"


BUCKETS: Final = (CONFIG_BUCKET, SEALED_BUCKET, STATUS_BUCKET)

ACK_WAIT: Final = timedelta(seconds=30)
MAX_DELIVERIES: Final = 10
"""Judged by `Bus.consume`, not by the server: there, a message past its last delivery would stay unseen."""
GIVE_UP_AFTER: Final = timedelta(days=2)
DUPLICATE_WINDOW: Final = timedelta(days=1)
EVENT_DUPLICATE_WINDOW: Final = timedelta(minutes=10)
"""Shorter, because the server keeps the ids of a window in memory and events are many."""
EVENT_AGE: Final = timedelta(days=14)
BLOB_AGE: Final = timedelta(days=7)
MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Stream:
    """A stream and its limits."""

    name: str
    subjects: tuple[str, ...]
    work_queue: bool = False
    max_age: timedelta = timedelta(0)
    max_bytes: int = -1
    duplicate_window: timedelta = DUPLICATE_WINDOW

    def config(self, replicas: int) -> StreamConfig:
        """The server's view of it. A full work queue refuses new messages, a full log drops its oldest."""
        return StreamConfig(
            name=self.name,
            num_replicas=replicas,
            subjects=list(self.subjects),
            retention=RetentionPolicy.WORK_QUEUE if self.work_queue else RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW if self.work_queue else DiscardPolicy.OLD,
            max_age=self.max_age.total_seconds(),
            max_bytes=self.max_bytes,
            duplicate_window=self.duplicate_window.total_seconds(),
            allow_direct=True,
        )


@dataclass(frozen=True)
class Consumer:
    """A durable pull consumer of a work queue."""

    stream: str
    name: str
    filter_subject: str
    ack_wait: timedelta = ACK_WAIT
    max_deliveries: int = MAX_DELIVERIES
    """Handlings that failed or were cut short by the end of their process; `Retry` does not count."""
    give_up_after: timedelta = GIVE_UP_AFTER
    """Age at which a message whose handler still says `Retry` becomes a dead letter."""

    def config(self) -> ConsumerConfig:
        """The server's view of it."""
        return ConsumerConfig(
            durable_name=self.name,
            filter_subject=self.filter_subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait.total_seconds(),
            max_deliver=-1,
            max_ack_pending=1000,
        )


TASKS: Final = Stream("AIRUT_TASKS", ("airut.v1.task.requested.*",), work_queue=True, max_bytes=512 * MIB)
REPLIES: Final = Stream(
    "AIRUT_REPLIES", ("airut.v1.reply.*.*", "airut.v1.taken.*.*"), work_queue=True, max_bytes=512 * MIB
)
EVENTS: Final = Stream(
    "AIRUT_EVENTS",
    ("airut.v1.event.>",),
    max_age=EVENT_AGE,
    max_bytes=1024 * MIB,
    duplicate_window=EVENT_DUPLICATE_WINDOW,
)
# A dead letter's id must be known for as long as its message can come again.
DEAD: Final = Stream(
    "AIRUT_DEAD", ("airut.v1.dead.*",), max_age=EVENT_AGE, max_bytes=128 * MIB, duplicate_window=EVENT_AGE
)
# Advisories are plain messages of the server: lost, unless a stream takes them up.
ADVISORIES: Final = Stream(
    "AIRUT_ADVISORIES",
    (
        "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.*",
        "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.*.*",
    ),
    max_age=EVENT_AGE,
    max_bytes=32 * MIB,
    duplicate_window=EVENT_DUPLICATE_WINDOW,
)
STREAMS: Final = (TASKS, REPLIES, EVENTS, DEAD, ADVISORIES)

ORCHESTRATOR_TASKS: Final = Consumer(TASKS.name, "orchestrator", "airut.v1.task.requested.*")
# Each restart of the gateway is a delivery of all that waits for the relay, and two days can hold many of them.
EMAIL_REPLIES: Final = Consumer(REPLIES.name, "gateway-email", "airut.v1.reply.email.*", max_deliveries=1000)
# After an hour the news is that the relay is away, and the answer brings that.
EMAIL_ACKNOWLEDGEMENTS: Final = Consumer(
    REPLIES.name,
    "gateway-email-taken",
    "airut.v1.taken.email.*",
    max_deliveries=1000,
    give_up_after=timedelta(hours=1),
)
CONSUMERS: Final = (ORCHESTRATOR_TASKS, EMAIL_REPLIES, EMAIL_ACKNOWLEDGEMENTS)


async def ensure_streams(js: JetStreamContext, replicas: int) -> None:
    """Create what is missing and bring limits up to date; run as `admin`, any number of times. Of a cluster, so many
    servers hold each message."""
    for stream in STREAMS:
        try:
            await js.stream_info(stream.name)
        except NotFoundError:
            await js.add_stream(stream.config(replicas))
        else:
            await js.update_stream(stream.config(replicas))
    for bucket in BUCKETS:
        try:
            await _replicate(js, f"KV_{bucket}", replicas)
        except NotFoundError:
            history = 64 if bucket == CONFIG_BUCKET else 1
            await js.create_key_value(
                KeyValueConfig(bucket=bucket, history=history, storage=StorageType.FILE, replicas=replicas)
            )
    try:
        await _replicate(js, f"OBJ_{BLOB_BUCKET}", replicas)
    except NotFoundError:
        settings = ObjectStoreConfig(
            ttl=BLOB_AGE.total_seconds(), max_bytes=4096 * MIB, storage=StorageType.FILE, replicas=replicas
        )
        await js.create_object_store(BLOB_BUCKET, settings)
    for consumer in CONSUMERS:
        await js.add_consumer(consumer.stream, consumer.config())


async def _replicate(js: JetStreamContext, stream: str, replicas: int) -> None:
    found = (await js.stream_info(stream)).config
    if (found.num_replicas or 1) != replicas:
        await js.update_stream(found.evolve(num_replicas=replicas))
