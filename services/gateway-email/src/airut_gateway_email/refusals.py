"""Refused mail as events for the operator, at a bounded rate: strangers decide how many there are."""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import structlog

from airut_gateway_email.errors import MailError, MailLater, printable

WINDOW_SECONDS = 60.0
PER_WINDOW = 30
MAX_TEXT = 500

log = structlog.get_logger()


class Report(Protocol):
    """`Service.report`."""

    def __call__(
        self, level: Literal["info", "warning", "error"], code: str, text: str, repo: str | None = None
    ) -> Awaitable[None]:
        """Publish one event."""


class RefusalReporter:
    """Reports `mail_refused` and `mail_deferred`; what is over the rate is counted in the next event."""

    def __init__(self, report: Report, clock: Callable[[], float]) -> None:
        self._report = report
        self._clock = clock
        self._window_began = clock()
        self._reported = 0
        self._unreported = 0

    async def __call__(self, error: MailError, peer: str, repo: str | None) -> None:
        """Report one refusal."""
        code = "mail_deferred" if isinstance(error, MailLater) else "mail_refused"
        log.info(code, answer=error.code, reason=str(error), peer=peer, repo=repo)
        if self._clock() - self._window_began > WINDOW_SECONDS:
            self._window_began, self._reported = self._clock(), 0
        if self._reported >= PER_WINDOW:
            self._unreported += 1
            return
        self._reported += 1
        more = f" (and {self._unreported} more before)" if self._unreported else ""
        self._unreported = 0
        text = printable(f"{error.code} {error.status} {error} [from {peer}]{more}")
        await self._report("warning", code, text[:MAX_TEXT], repo)
