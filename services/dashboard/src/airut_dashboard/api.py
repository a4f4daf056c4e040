"""The JSON API: the same facts as the pages, for programs."""

from datetime import datetime

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel

from airut_common.contracts.v1 import AgentOutput, EgressEvent, EmailEvidence, PlanStep, Usage
from airut_dashboard.model import ReadModel, TaskView
from airut_dashboard.stopping import CannotStop, Stop, is_forged


class TaskSummary(BaseModel):
    """A task without what its agent said."""

    id: str
    repo: str
    conversation: str
    state: str
    final: bool
    channel: str
    sender: str
    subject: str
    reason: str | None
    place: int | None
    waits_for: str | None
    merged_into: str | None
    merged: list[str]
    activity: str
    plan: tuple[PlanStep, ...]
    created_at: datetime
    updated_at: datetime
    usage: Usage | None
    timings_ms: dict[str, float]
    agent_version: str | None
    network_sandbox: bool
    requests: int
    denied: int

    @classmethod
    def of(cls, view: TaskView) -> "TaskSummary":
        """The summary of a task in the read model."""
        fields = {name: getattr(view, name) for name in cls.model_fields if name != "final"}
        return cls(final=view.is_final, **fields)


class Stopped(BaseModel):
    """The answer to a stop: it ends within seconds, and its events tell when."""

    task: str
    stopped: bool = True


def api_router(model: ReadModel, stop: Stop, public_url: str | None) -> APIRouter:
    """Routes under `/api/v1`."""
    router = APIRouter(prefix="/api/v1")

    def known(task_id: str) -> TaskView:
        view = model.task(task_id)
        if view is None:
            raise HTTPException(404, f"no task {task_id}")
        return view

    @router.get("/tasks")
    async def tasks() -> list[TaskSummary]:
        """Tasks that still go on, then the newest."""
        return [TaskSummary.of(view) for view in model.tasks()]

    @router.get("/tasks/{task_id}")
    async def task(task_id: str) -> TaskSummary:
        """One task."""
        return TaskSummary.of(known(task_id))

    @router.get("/tasks/{task_id}/sender")
    async def sender(task_id: str) -> EmailEvidence | None:
        """Why its sender is believed."""
        return known(task_id).evidence

    @router.get("/tasks/{task_id}/output")
    async def output(task_id: str) -> list[AgentOutput]:
        """What its agent said and did, in order."""
        return [entry for change in known(task_id).outputs if isinstance(entry := change.entry, AgentOutput)]

    @router.get("/tasks/{task_id}/network")
    async def network(task_id: str) -> list[EgressEvent]:
        """What its sandbox tried to reach, in order."""
        return [entry for change in known(task_id).network if isinstance(entry := change.entry, EgressEvent)]

    @router.post("/tasks/{task_id}/stop", status_code=202)
    async def stop_task(task_id: str, request: Request) -> Stopped:
        """End a task, whether it runs or waits. Needs the header `Airut-Request`, with any value."""
        if (reason := is_forged(request.headers, public_url)) is not None:
            raise HTTPException(403, reason)
        view = known(task_id)
        if view.is_final:
            raise HTTPException(409, f"it has ended: {view.state.replace('_', ' ')}")
        try:
            if await stop(task_id):
                return Stopped(task=task_id)
        except CannotStop as error:
            raise HTTPException(503, str(error)) from None
        raise HTTPException(409, "there was nothing to stop: it is about to end")

    @router.get("/health")
    async def health() -> dict[str, int]:
        """Answers once the event stream has been read; `sequence` is how far."""
        return {"sequence": model.sequence}

    return router
