"""Questions and answers between services: NATS micro (ADR-32)."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import nats.micro
import structlog
from nats.aio.client import Client
from nats.micro.request import Request
from pydantic import TypeAdapter, ValidationError

from airut_common.bus.errors import AWAY, BusUnavailable
from airut_common.contracts.v1 import Message, Refused

AT_ONCE = 64
"""Questions that one endpoint works on at the same time; more wait."""
FINISH_SECONDS = 5.0
HEARD_SECONDS = 10.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Endpoint[Q: Message]:
    """One question that a service answers. The handler's exceptions become `Refused`."""

    subject: str
    model: type[Q]
    handler: Callable[[Q], Awaitable[Message]]


@functools.cache
def _answer_or_refusal(answer: type[Message]) -> TypeAdapter[Any]:
    return TypeAdapter(Refused | answer)  # type: ignore[arg-type]  # a union of two models is a type form


async def ask[M: Message](
    client: Client, subject: str, message: Message, answer: type[M], timeout_seconds: float
) -> M | Refused:
    """Ask once."""
    try:
        reply = await client.request(subject, message.encode(), timeout=timeout_seconds)
        found: M | Refused = _answer_or_refusal(answer).validate_json(reply.data)
    except (*AWAY, ValidationError) as error:
        raise BusUnavailable(f"{subject}: {error!r}") from None
    return found


@asynccontextmanager
async def serve(client: Client, name: str, endpoints: Mapping[str, Endpoint[Any]]) -> AsyncIterator[None]:
    """Answer while the context is open.

    Raises:
        BusUnavailable: the server did not take the subscriptions.
    """
    answering: set[asyncio.Task[None]] = set()
    try:
        service = await nats.micro.add_service(client, name=name, version="1.0.0", description="")
        for label, endpoint in endpoints.items():
            handler = _answerer(endpoint, answering)
            await service.add_endpoint(name=label, subject=endpoint.subject, handler=handler)
        await _until_heard(client)
    except AWAY as error:
        raise BusUnavailable(f"the server does not answer: {error!r}") from None
    try:
        yield
    finally:
        if client.is_connected:
            with contextlib.suppress(*AWAY):  # gone in this moment: then nobody asks any more either
                await service.stop()
        if answering:
            await asyncio.wait(answering, timeout=FINISH_SECONDS)
        for task in answering:
            task.cancel()


async def _until_heard(client: Client) -> None:
    """Return once the server has taken our subscriptions: a question asked from now on finds somebody.

    nats-py's `flush` does not tell: its PING overtakes what is still waiting to be written. A request does not.
    """
    await client.request("$JS.API.INFO", timeout=HEARD_SECONDS)


def _answerer(
    endpoint: Endpoint[Any], answering: set[asyncio.Task[None]]
) -> Callable[[Request], Awaitable[None]]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def answer(request: Request) -> None:
        try:
            response = await _response(endpoint, request)
            await request.respond(response.encode())
        except AWAY as error:
            log.info("answer_lost", subject=endpoint.subject, reason=repr(error))
        except ValueError:
            log.warning("question_without_reply_subject", subject=endpoint.subject)
        finally:
            slots.release()

    async def take(request: Request) -> None:
        # nats-py hands over one request after the other and waits for each: the work goes beside it.
        await slots.acquire()
        task = asyncio.get_running_loop().create_task(answer(request), name=f"answer-{endpoint.subject}")
        answering.add(task)
        task.add_done_callback(answering.discard)

    return take


async def _response(endpoint: Endpoint[Any], request: Request) -> Message:
    if request.subject != endpoint.subject or request.headers:
        # Row 38: what the server was made to say (see origin.py) has another subject, or headers; we send none.
        return Refused(code="bad_request", text="not asked by a service of this installation")
    try:
        question = endpoint.model.decode(request.data)
    except ValidationError as error:
        return Refused(code="bad_request", text=str(error))
    try:
        return await endpoint.handler(question)
    except Exception:
        log.exception("answer_failed", subject=endpoint.subject)
        return Refused(code="internal", text="the service failed; its log has the reason")
