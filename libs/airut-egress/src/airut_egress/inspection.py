"""Requests that are judged on their bodies as well: collected whole under a bound, judged, and sent as judged."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""Of one inspected body: as much as the Messages API takes, so that no long conversation is cut off."""
AT_ONCE_BYTES: Final = 16 * 1024
"""A larger body is judged in a thread: parsing it would hold up every sandbox's traffic."""
MAX_SESSION_BYTES: Final = 64 * 1024 * 1024
"""Of all inspected bodies that a sandbox has under way (field notes 35)."""

BodyFilter = Callable[[bytes], bytes]
"""Takes a body and returns what is sent in its place; raises `Denied` when nothing may be sent."""


class Denied(Exception):
    """The request does not go out. `detail` is for the person who reads the answer."""

    def __init__(self, obstacle: str, detail: str = "") -> None:
        super().__init__(detail)
        self.obstacle = obstacle
        self.detail = detail


@dataclass(slots=True)
class Inspection:
    """What a request's body has to pass, in order, and how much of it is here."""

    filters: tuple[BodyFilter, ...]
    received: int = 0
    _outcome: bytes | Denied | None = None

    def take(self, size: int, *, of_session: int) -> None:
        """Count a part of the body.

        Args:
            of_session: what the sandbox has under way, without this part.

        Raises:
            Denied: it is more than can be inspected.
        """
        self.received += size
        if self.received > MAX_BODY_BYTES:
            raise Denied("too-large", f"a body that is inspected has at most {MAX_BODY_BYTES} bytes")
        if of_session + size > MAX_SESSION_BYTES:
            raise Denied("too-large", "this sandbox has too many inspected bodies under way")

    async def judge_aside(self, body: bytes) -> None:
        """Judge in a thread; `judge` then tells the outcome."""
        self._outcome = await asyncio.to_thread(self._outcome_of, body)

    def judge(self, body: bytes) -> bytes:
        """The body to be sent.

        Raises:
            Denied: nothing may be sent.
        """
        outcome = self._outcome_of(body) if self._outcome is None else self._outcome
        if isinstance(outcome, Denied):
            raise outcome
        return outcome

    def _outcome_of(self, body: bytes) -> bytes | Denied:
        try:
            for one in self.filters:
                body = one(body)
        except Denied as denied:
            return denied
        return body
