"""Agents behind one small interface. Only Claude Code ships; a second one would be a module beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from airut_common.contracts.v1 import PlanStep, Usage

OutputType = Literal["text", "thinking", "tool_use", "tool_result", "result", "system", "unknown"]


@dataclass(frozen=True)
class Said:
    """One thing the agent said or did."""

    type: OutputType
    text: str = ""
    tool: str | None = None
    tool_use_id: str | None = None
    input: Mapping[str, Any] | None = None
    is_error: bool = False
    nested: bool = False
    """A sub-agent did it."""


@dataclass(frozen=True)
class Line:
    """What one line of an agent's output means."""

    said: tuple[Said, ...] = ()
    session: str | None = None
    """The agent's own session id, checked: hexadecimal digits and dashes only."""
    session_lost: bool = False
    """The session that was to be resumed is not there: nothing was done, and a new one has to begin."""
    result: str | None = None
    """The final answer, when this line is it."""
    failed: bool = False
    usage: Usage | None = None


@dataclass(frozen=True)
class Launch:
    """How to start an agent in its sandbox."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class ProgressReader(Protocol):
    """Understands what an agent does."""

    @property
    def activity(self) -> str:
        """What it does now, on one line; empty when that has no name."""
        ...

    @property
    def plan(self) -> tuple[PlanStep, ...]:
        """Its plan, as it says."""
        ...

    def take(self, said: Said) -> None:
        """Look at one thing the agent said or did. Never raises."""
        ...


class Agent(Protocol):
    """What the runner needs to know of an agent."""

    def launch(self, *, resume: str | None, model: str | None, effort: str | None) -> Launch:
        """The command; the prompt comes on standard input. `resume` continues an earlier session.

        Raises:
            ValueError: no model can have that name.
        """
        ...

    def session_file(self, session: str) -> str:
        """Where the agent keeps a session, below its own folder."""
        ...

    def read_line(self, line: bytes) -> Line:
        """Understand a line of output. Never raises: what is not understood is kept as `unknown`."""
        ...

    def progress(self) -> ProgressReader:
        """A reader of what one run says of its plan and of what it does."""
        ...
