"""What the dashboard's JSON API knows of the tasks, told while it happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from airut_demo.transcript import Transcript

POLL_SECONDS = 0.1
FINAL_SECONDS = 20.0


class Dashboard:
    """A reader of the JSON API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def tasks(self) -> list[dict[str, Any]]:
        """All tasks, those that still go on first."""
        found: list[dict[str, Any]] = await self._get("/api/v1/tasks")
        return found

    async def output(self, task: str) -> list[dict[str, Any]]:
        """What the task's agent said and did."""
        found: list[dict[str, Any]] = await self._get(f"/api/v1/tasks/{task}/output")
        return found

    async def network(self, task: str) -> list[dict[str, Any]]:
        """What the task's sandbox tried to reach."""
        found: list[dict[str, Any]] = await self._get(f"/api/v1/tasks/{task}/network")
        return found

    async def _get(self, path: str) -> Any:
        return (await self._client.get(path)).raise_for_status().json()


@asynccontextmanager
async def open_dashboard(url: str) -> AsyncIterator[Dashboard]:
    """Speak to the dashboard at `url`."""
    # Straight to it: a proxy in the environment has no business with a loopback address.
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        yield Dashboard(client)


class Watch:
    """Follows the one task that begins after `known` and tells each new thing once."""

    def __init__(self, dashboard: Dashboard, transcript: Transcript, known: set[str]) -> None:
        self._dashboard = dashboard
        self._tell = transcript
        self._known = known
        self._state = ""
        self._outputs = 0
        self._denials = 0
        self.task: dict[str, Any] | None = None
        """The task as last seen."""

    async def follow(self) -> None:
        """Until the task is final, or the caller has enough."""
        while self.task is None or not self.task["final"]:
            try:
                await self._look()
            except httpx.TransportError:
                # The dashboard may be starting again, which `airut up` sees to.
                await asyncio.sleep(1)
            await asyncio.sleep(POLL_SECONDS)

    async def _look(self) -> None:
        task = next((task for task in await self._dashboard.tasks() if task["id"] not in self._known), None)
        if task is None:
            return
        self.task = task
        if task["state"] != self._state:
            # The end of a task is told after all that came before it.
            if task["final"]:
                await self._tell_new(task["id"])
            self._state = task["state"]
            self._tell.step(f"task: {self._state}{_remark(task)}")
        await self._tell_new(task["id"])

    async def _tell_new(self, task: str) -> None:
        outputs = await self._dashboard.output(task)
        for output in outputs[self._outputs :]:
            if output["type"] == "tool_use":
                self._tell.step(f"agent: {output['tool']}: {summary(output)}")
        self._outputs = len(outputs)
        denials = [event for event in await self._dashboard.network(task) if event["decision"] == "deny"]
        for event in denials[self._denials :]:
            self._tell.step(f"egress-proxy: {event['host']} refused ({event['reason']})")
        self._denials = len(denials)


def summary(output: dict[str, Any]) -> str:
    """One line that says what a tool call is for."""
    arguments = output["input"] or {}
    for key in ("description", "file_path", "command"):
        if isinstance(arguments.get(key), str) and arguments[key].strip():
            return str(arguments[key]).strip().splitlines()[0]
    return ""


def _remark(task: dict[str, Any]) -> str:
    timings = task["timings_ms"]
    if task["state"] == "running" and "accept_to_agent" in timings:
        return f", {timings['accept_to_agent'] / 1000:.2f} s after the mail was taken"
    return f", {task['reason']}" if task["reason"] else ""
