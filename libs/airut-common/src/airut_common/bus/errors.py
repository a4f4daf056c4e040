"""What a handler raises to steer its message, and what the bus raises when it is away."""

from datetime import timedelta


class Retry(Exception):
    """The message cannot be handled now: deliver it again later."""

    def __init__(self, reason: str, after: timedelta = timedelta(seconds=5)) -> None:
        super().__init__(reason)
        self.after = after


class Reject(Exception):
    """The message is refused for good: it goes to the dead letters with this reason."""


class BusUnavailable(Exception):
    """The bus did not answer in time. Nothing is known of whether it took the message."""


class BusTooOld(Exception):
    """The server lacks what Airut relies on."""
