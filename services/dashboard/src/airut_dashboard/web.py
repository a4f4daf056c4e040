"""Pages, live streams and the JSON API. Reads the model; the one thing that can be changed is that a task stops."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Query
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from sse_starlette import EventSourceResponse, ServerSentEvent

from airut_common.contracts.v1 import AgentOutput, AgentProgress, EgressEvent, TaskStateChanged
from airut_dashboard.api import api_router
from airut_dashboard.feed import Feed, Subscription, TooManyPages
from airut_dashboard.model import Change, ReadModel, TaskView
from airut_dashboard.render import Renderer, static_folder
from airut_dashboard.security import guard
from airut_dashboard.stopping import Stop

PING_SECONDS = 15


def build_web(
    model: ReadModel,
    feed: Feed,
    *,
    public_url: str | None,
    stop: Stop,
    open_networks: Callable[[], Sequence[str]],
) -> FastAPI:
    """The web application over a read model and its feed. `open_networks` names the repositories whose network sandbox
    is switched off now."""
    web = FastAPI(title="Airut", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    web.middleware("http")(guard(public_url))
    web.mount("/static", StaticFiles(directory=static_folder()))
    web.include_router(api_router(model, stop, public_url))
    render = Renderer()

    @web.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def tasks() -> str:
        return render.page(
            "tasks.html",
            tasks=model.tasks(),
            service_events=list(model.service_events)[:20],
            open_networks=open_networks(),
        )

    @web.get("/tasks/{task_id}", response_class=HTMLResponse, include_in_schema=False)
    async def task(task_id: str) -> HTMLResponse:
        view = model.task(task_id)
        if view is None:
            return HTMLResponse(render.page("missing.html"), status_code=404)
        siblings = model.conversation(view.conversation) if view.conversation else [view]
        page = render.page("task.html", task=view, siblings=siblings, sequence=model.sequence)
        return HTMLResponse(page)

    @web.get("/stream", include_in_schema=False)
    async def stream_all() -> EventSourceResponse:
        pages = ExitStack()
        page = _subscribe(feed, pages, None)
        return _stream(pages, _list_events(model, render, page))

    @web.get("/tasks/{task_id}/stream", include_in_schema=False)
    async def stream_task(
        task_id: str,
        after: Annotated[int, Query(ge=0)] = 0,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> EventSourceResponse:
        view = model.task(task_id)
        if view is None:
            raise HTTPException(404)
        known = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else after
        pages = ExitStack()
        # Subscribed before the past is read: what arrives in between is in both, and is sent once.
        page = _subscribe(feed, pages, task_id)
        return _stream(pages, _task_events(model, render, page, _missed(view, known)))

    return web


def _subscribe(feed: Feed, pages: ExitStack, task: str | None) -> Subscription:
    try:
        return pages.enter_context(feed.subscribe(task))
    except TooManyPages:
        raise HTTPException(503, "too many open pages; close some") from None


def _missed(view: TaskView, known: int) -> list[Change]:
    changes = [*view.changes, *([view.progress] if view.progress is not None else [])]
    return sorted(
        (change for change in changes if change.sequence > known), key=lambda change: change.sequence
    )


def _stream(pages: ExitStack, events: AsyncIterator[ServerSentEvent]) -> EventSourceResponse:
    async def until_closed() -> AsyncIterator[ServerSentEvent]:
        with pages:
            async for event in events:
                yield event

    return EventSourceResponse(until_closed(), ping=PING_SECONDS)


async def _list_events(
    model: ReadModel, render: Renderer, page: Subscription
) -> AsyncIterator[ServerSentEvent]:
    # A page that reconnects may have missed changes: it gets every row anew, oldest first.
    for view in reversed(model.tasks()):
        yield ServerSentEvent(render.task_row(view), event="row")
    while (change := await page.queue.get()) is not None:
        changed = model.task(change.task)
        if changed is not None and not isinstance(change.entry, AgentOutput | AgentProgress):
            yield ServerSentEvent(render.task_row(changed), event="row")


async def _task_events(
    model: ReadModel, render: Renderer, page: Subscription, missed: list[Change]
) -> AsyncIterator[ServerSentEvent]:
    sent = 0
    for change in missed:
        for event in _change_events(model, render, change):
            yield event
        sent = change.sequence
    while (live := await page.queue.get()) is not None:
        if live.sequence > sent:
            for event in _change_events(model, render, live):
                yield event


def _change_events(model: ReadModel, render: Renderer, change: Change) -> list[ServerSentEvent]:
    identifier = str(change.sequence)
    match change.entry:
        case AgentOutput():
            return [ServerSentEvent(render.output(change), event="output", id=identifier)]
        case EgressEvent():
            events = [ServerSentEvent(render.network_row(change), event="network", id=identifier)]
        case TaskStateChanged() | AgentProgress():
            events = []
    view = model.task(change.task)
    if view is not None and not isinstance(change.entry, AgentProgress):
        events.append(ServerSentEvent(render.task_header(view), event="header", id=identifier))
    if view is not None and not isinstance(change.entry, EgressEvent):
        events.append(ServerSentEvent(render.progress(view), event="progress", id=identifier))
    return events
