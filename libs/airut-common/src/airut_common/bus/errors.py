"""What a handler raises to steer its message, and what the bus raises when it is away."""

from datetime import timedelta
from typing import Final

import nats.errors
import nats.js.errors


class Retry(Exception):
    """The message cannot be handled now: hand it over again later."""

    def __init__(self, reason: str, after: timedelta = timedelta(seconds=5)) -> None:
        super().__init__(reason)
        self.after = after


class Reject(Exception):
    """The message is refused for good: it goes to the dead letters with this reason."""


class BusUnavailable(Exception):
    """The bus did not answer in time. Nothing is known of whether it took the message."""


class BusTooOld(Exception):
    """The server lacks what Airut relies on."""


class MessageTooLarge(ValueError):
    """The message is larger than the bus takes; trying again does not help."""


class PullBroken(Exception):
    """A consumer is gone, or the server is silent."""


#: What nats-py raises when the server is away, slow, or has lost the stream for a moment.
AWAY: Final = (nats.errors.Error, nats.js.errors.APIError, TimeoutError, OSError, PullBroken)
