"""Key-value buckets: read one, write one, follow many."""

from asyncio import timeout
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import BadRequestError

from airut_common.bus.errors import BusUnavailable
from airut_common.bus.follow import follow

READ_SECONDS = 10.0
WRITE_SECONDS = 10.0
_OPERATION = "KV-Operation"
_DELETE: Mapping[str, str] = {_OPERATION: "DEL"}
EXPECTED_REVISION = "Nats-Expected-Last-Subject-Sequence"

Store = Callable[[str, bytes, Mapping[str, str], float], Awaitable[int]]
"""subject, body, headers, seconds -> sequence."""


@dataclass(frozen=True)
class KvEntry:
    """A key's value; None means that it was deleted."""

    key: str
    value: bytes | None
    revision: int


class Keys:
    """The buckets as one connection sees them."""

    def __init__(self, client: Client, js: JetStreamContext, name: str, store: Store) -> None:
        self._client = client
        self._js = js
        self._name = name
        self._store = store

    async def get(self, bucket: str, key: str) -> KvEntry | None:
        """The newest value of a key; None when there is none."""
        entry = await self._newest(bucket, key)
        return None if entry is None or entry.value is None else entry

    async def put(self, bucket: str, key: str, value: bytes) -> int:
        """Write a key and return its revision."""
        return await self._store(f"$KV.{bucket}.{key}", value, {}, WRITE_SECONDS)

    async def create(self, bucket: str, key: str, value: bytes) -> int | None:
        """Write a key that has no value and return its revision; None when it has one, or somebody was faster."""
        entry = await self._newest(bucket, key)
        if entry is not None and entry.value is not None:
            return None
        expected = {EXPECTED_REVISION: str(entry.revision if entry is not None else 0)}
        try:
            return await self._store(f"$KV.{bucket}.{key}", value, expected, WRITE_SECONDS)
        except BadRequestError:
            return None

    async def delete(self, bucket: str, key: str) -> None:
        """Delete a key; deleting one that is not there is fine."""
        await self._store(f"$KV.{bucket}.{key}", b"", _DELETE, WRITE_SECONDS)

    async def watch(self, bucket: str, pattern: str) -> AsyncGenerator[KvEntry | None]:
        """The newest value of every key, then each change; None after the values that were there."""
        prefix = f"$KV.{bucket}."

        def start() -> ConsumerConfig:
            return ConsumerConfig(
                deliver_policy=DeliverPolicy.LAST_PER_SUBJECT, filter_subject=prefix + pattern
            )

        async with aclosing(follow(self._client, self._js, self._name, f"KV_{bucket}", start)) as messages:
            async for message in messages:
                if message is None:
                    yield None
                else:
                    value = None if _OPERATION in message.headers else message.data
                    yield KvEntry(message.subject.removeprefix(prefix), value, message.sequence)

    async def _newest(self, bucket: str, key: str) -> KvEntry | None:
        """By way of a consumer: it keeps the stored headers as they are, and reads nothing but this key."""
        newest: KvEntry | None = None
        try:
            async with timeout(READ_SECONDS), aclosing(self.watch(bucket, key)) as entries:
                async for entry in entries:
                    if entry is None:
                        break
                    newest = entry
        except TimeoutError:
            raise BusUnavailable(f"{bucket}/{key} was not read within {READ_SECONDS:g} s") from None
        return newest
