"""What Claude Code does now and how far its plan is, from its tool calls. All of it is the agent's own word.

A plan comes in two forms: `TodoWrite` writes the whole list anew; `TaskCreate` and `TaskUpdate` (CLI 2.1.330 has them
on by default) change one step. The id of a new step stands in the result only: `Task #1 created successfully: …`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from airut_common.contracts.v1 import PlanStep
from airut_orchestrator.agents import Said
from airut_orchestrator.oneline import one_line

STEP_CHARACTERS: Final = 120
ACTIVITY_CHARACTERS: Final = 160
TOOL_CHARACTERS: Final = 40
MAX_STEPS: Final = 500
"""Kept of a plan; far more than is shown."""
MAX_PENDING: Final = 100
#: The part of a tool call that says what it is about, the most telling first.
_SUBJECT_KEYS: Final = ("description", "command", "file_path", "path", "pattern", "url", "query", "subject")
_CREATED: Final = re.compile(r"Task #(\S{1,40}) created successfully")


class ClaudeProgress:
    """Follows one run."""

    def __init__(self) -> None:
        self.activity = ""
        self._steps: dict[str, PlanStep] = {}
        self._pending: dict[str, PlanStep] = {}
        """Steps whose id is not known yet, by the id of the call."""

    @property
    def plan(self) -> tuple[PlanStep, ...]:
        """Its steps, in order."""
        return tuple(self._steps.values())

    def take(self, said: Said) -> None:
        """Look at one thing the agent said or did."""
        match said.type:
            case "tool_use":
                self._use(said)
            case "tool_result":
                self._result(said)
            case "thinking":
                self.activity = "thinking"
            case "text":
                self.activity = "writing"
            case "result":
                self.activity = ""

    def _use(self, said: Said) -> None:
        arguments = said.input or {}
        self.activity = _activity(said.tool or "", arguments)
        if said.nested:
            return  # a sub-agent's plan is its own
        match said.tool:
            case "TodoWrite":
                self._write(arguments.get("todos"))
            case "TaskCreate":
                step = _step(arguments.get("subject"), "pending")
                if step is not None and said.tool_use_id and len(self._pending) < MAX_PENDING:
                    self._pending[said.tool_use_id] = step
            case "TaskUpdate":
                self._update(arguments)

    def _write(self, todos: object) -> None:
        if not isinstance(todos, list):
            return
        entries = [entry for entry in todos[:MAX_STEPS] if isinstance(entry, dict)]
        found = [_step(entry.get("content"), entry.get("status")) for entry in entries]
        steps = [step for step in found if step is not None]
        self._steps = {f"todo-{number}": step for number, step in enumerate(steps)}

    def _result(self, said: Said) -> None:
        step = self._pending.pop(said.tool_use_id or "", None)
        created = _CREATED.match(said.text) if step is not None else None
        if step is not None and created is not None and len(self._steps) < MAX_STEPS:
            self._steps[created[1]] = step

    def _update(self, arguments: Mapping[str, Any]) -> None:
        name = arguments.get("taskId")
        known = self._steps.get(name) if isinstance(name, str) else None
        if known is None or not isinstance(name, str):
            return
        if arguments.get("status") == "deleted":
            del self._steps[name]
            return
        step = _step(arguments.get("subject", known.text), arguments.get("status", known.status))
        if step is not None:
            self._steps[name] = step


def _step(text: object, status: object) -> PlanStep | None:
    if not isinstance(text, str) or not (shown := one_line(text, STEP_CHARACTERS)):
        return None
    match status:
        case "pending" | "in_progress" | "completed":
            return PlanStep(text=shown, status=status)
    return None


def _activity(tool: str, arguments: Mapping[str, Any]) -> str:
    name = one_line(tool, TOOL_CHARACTERS)
    about = (arguments.get(key) for key in _SUBJECT_KEYS)
    subject = next((value for value in about if isinstance(value, str) and value.strip()), "")
    shown = one_line(subject, ACTIVITY_CHARACTERS - len(name) - 2)
    return f"{name}: {shown}" if shown else name
