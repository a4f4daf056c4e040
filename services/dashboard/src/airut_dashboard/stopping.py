"""Stopping a task from a page: the question to the orchestrators, and who may ask it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from airut_common.bus import Bus, BusUnavailable
from airut_common.contracts.v1 import Refused, StopAnswered, StopTask
from airut_common.contracts.v1.subjects import ANY_HOST, orchestrator_service
from airut_dashboard.security import host_allowed

BY: Final = "somebody at the dashboard"
HEADER: Final = "airut-request"
"""Our own pages and programs send it. A page of somebody else cannot: a browser asks us first whether it may, and we
never say so (Fetch standard, CORS preflight)."""
ASK_SECONDS: Final = 10.0

Stop = Callable[[str], Awaitable[bool]]
"""Stops a task by its id; False when there was nothing to stop."""


class CannotStop(Exception):
    """Nobody who could stop it answered; the text is for people."""


def stop_over(bus: Bus) -> Stop:
    """Ask whichever orchestrator hears it; it knows which host works on the task."""

    async def stop(task: str) -> bool:
        subject = orchestrator_service(ANY_HOST, "stop")
        try:
            answer = await bus.request(
                subject, StopTask(task=task, by=BY), StopAnswered, timeout_seconds=ASK_SECONDS
            )
        except BusUnavailable:
            raise CannotStop("the orchestrator does not answer; try again in a moment") from None
        if isinstance(answer, Refused):
            raise CannotStop(answer.text)
        return answer.stopped

    return stop


def is_forged(headers: Mapping[str, str], public_url: str | None) -> str | None:
    """Why a request that changes something may come from a page of somebody else; None for one of ours (row 56)."""
    if HEADER not in headers:
        return f"the header {HEADER} is missing"
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return "it comes from another site"
    origin = headers.get("origin")
    if origin is not None and not host_allowed(urlsplit(origin).netloc, public_url):
        return "it comes from another origin"
    return None
