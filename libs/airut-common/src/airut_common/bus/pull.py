"""Reading from a JetStream consumer: pull requests with heartbeats, so that a silent server is noticed.

nats-py's own `fetch` may hang after a reconnect and its key watchers may end early; here each silence longer than
two heartbeats ends the iteration with `PullBroken`, and the caller begins again from where it was.
"""

import json
from collections.abc import AsyncGenerator

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import TimeoutError as NatsTimeoutError

from airut_common.bus.errors import PullBroken

HEARTBEAT_SECONDS = 5
EXPIRES_SECONDS = 30
SILENCE_SECONDS = 2 * HEARTBEAT_SECONDS + 1
LOOK_SECONDS = 1.0
"""How often to look whether the connection was made anew: the server has then forgotten what we asked for."""
_NANOSECONDS = 1_000_000_000

#: Statuses (ADR-37): a heartbeat; the request ended without or before its batch was full.
_HEARTBEAT = "100"
_REQUEST_ENDED = {"404", "408"}


async def pull(client: Client, stream: str, consumer: str, *, batch: int) -> AsyncGenerator[Msg]:
    """Messages of a consumer as they come, at most `batch` in flight.

    Raises:
        PullBroken: when the iteration cannot go on; messages already yielded are not lost by it.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    request = {
        "batch": batch,
        "expires": EXPIRES_SECONDS * _NANOSECONDS,
        "idle_heartbeat": HEARTBEAT_SECONDS * _NANOSECONDS,
    }
    try:
        while True:
            connection = client.stats["reconnects"]
            await client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", json.dumps(request).encode(), reply=inbox
            )
            wanted = batch
            while wanted:
                message = await _next(client, subscription, connection)
                status = (message.headers or {}).get("Status")
                if status is None:
                    wanted -= 1
                    yield message
                elif status in _REQUEST_ENDED:
                    break
                elif status != _HEARTBEAT:
                    description = (message.headers or {}).get("Description", "")
                    raise PullBroken(f"{status} {description}")
    finally:
        if not client.is_closed:
            await subscription.unsubscribe()


async def _next(client: Client, subscription: Subscription, connection: int) -> Msg:
    silent = 0.0
    while silent < SILENCE_SECONDS:
        try:
            return await subscription.next_msg(timeout=LOOK_SECONDS)
        except NatsTimeoutError:
            silent += LOOK_SECONDS
        if client.stats["reconnects"] != connection:
            raise PullBroken("the connection is a new one")
    raise PullBroken("no heartbeat from the server")
