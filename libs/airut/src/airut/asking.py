"""Questions to running services, with an error for the person at the terminal when nobody answers."""

from airut.errors import UsageError
from airut_common.bus import Bus, BusUnavailable
from airut_common.contracts.v1 import Message, Refused


async def ask[M: Message](
    bus: Bus, subject: str, question: Message, kind: type[M], *, service: str, seconds: float
) -> M:
    """Ask a service, and wait for so long.

    Raises:
        UsageError: it does not answer, or refuses.
    """
    try:
        answer = await bus.request(subject, question, kind, timeout_seconds=seconds)
    except BusUnavailable as error:
        raise UsageError(f"the {service} does not answer ({error}); see `airut status`") from None
    if isinstance(answer, Refused):
        raise UsageError(answer.text)
    return answer
