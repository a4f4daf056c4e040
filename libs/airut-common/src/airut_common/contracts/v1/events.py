"""What happened, for dashboards and auditors. Events are never commands."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from .base import Identifier, Message, RepoId, Timestamp
from .reply import Outcome, Usage
from .task import EmailEvidence

TaskState = Literal[
    "queued",
    "preparing",
    "running",
    "replying",
    "done",
    "failed",
    "stopped",
    "timed_out",
    "interrupted",
    "merged",
]
"""`merged`: the message was handed to the agent together with an earlier one of its conversation, whose task it is
now."""
FINAL_STATES: frozenset[str] = frozenset({"done", "failed", "stopped", "timed_out", "interrupted", "merged"})


class TaskStateChanged(Message):
    """A task entered a state. The first one, `queued`, introduces the task."""

    kind: Literal["state"] = "state"
    repo: RepoId
    task: Identifier
    conversation: Identifier
    at: Timestamp
    state: TaskState
    channel: str = ""
    sender: str = ""
    subject: str = ""
    sandbox: Identifier | None = None
    """Set from `running` on: the sandbox whose egress events belong to the task."""
    reason: str | None = None
    """For people: why it failed, in one line."""
    place: Annotated[int, Field(ge=1)] | None = None
    """Told once, with the `queued` that a message's arrival makes: 1 is next among those of its conversation that
    wait."""
    waits_for: Literal["turn", "slot"] | None = None
    """With `place`: the conversation is at work on an earlier message, or nothing is free on this host; None begins
    now."""
    evidence: EmailEvidence | None = None
    """With `place`: why the sender is believed."""
    merged_into: Identifier | None = None
    """On `merged`: the task that works on this message and answers it."""
    outcome: Outcome | None = None
    usage: Usage | None = None
    timings_ms: dict[str, float] = Field(default_factory=dict)
    """Stage name to milliseconds, as far as known (`mirror`, `workspace`, ...)."""
    agent_version: str | None = None
    """Of the program that runs; a channel is told as the version that it meant."""
    network_sandbox: bool = True
    """False on `running`: the repository's network sandbox is switched off."""


class AgentOutput(Message):
    """One thing the agent said or did, in order (`seq` counts from 0 within a task). Before it works, `build` is what
    the build of its image says, with a count of its own."""

    kind: Literal["agent"] = "agent"
    repo: RepoId
    task: Identifier
    conversation: Identifier
    at: Timestamp
    seq: int
    type: Literal[
        "prompt", "text", "thinking", "tool_use", "tool_result", "result", "system", "unknown", "build"
    ]
    text: str = ""
    """Cut to 32 KiB; `truncated` says so."""
    tool: str | None = None
    tool_use_id: str | None = None
    input: dict[str, Any] | None = None
    is_error: bool = False
    truncated: bool = False


class PlanStep(Message):
    """One line of an agent's plan."""

    text: Annotated[str, StringConstraints(max_length=200)]
    status: Literal["pending", "in_progress", "completed"]


class AgentProgress(Message):
    """What the agent does now, and how far its plan is, as it says itself: hostile text, on one line and bounded. At
    most one in a second of a task."""

    kind: Literal["progress"] = "progress"
    repo: RepoId
    task: Identifier
    conversation: Identifier
    at: Timestamp
    activity: Annotated[str, StringConstraints(max_length=200)] = ""
    """Such as `Bash: make check`; empty when it does nothing that has a name."""
    plan: Annotated[tuple[PlanStep, ...], Field(max_length=50)] | None = None
    """The whole plan; None when it is the one that was told last."""
    plan_left_out: Annotated[int, Field(ge=0)] = 0
    """Steps of the plan beyond those."""


TaskEvent = Annotated[TaskStateChanged | AgentOutput | AgentProgress, Field(discriminator="kind")]


EgressTag = Literal["scrubbed", "tools-cut"]
"""What else is worth knowing of a request. `scrubbed`: its answer carried a real credential, which was taken out.
`tools-cut`: tools that would have run on the API's side were taken out of it, or domains of theirs."""


class EgressEvent(Message):
    """One attempt of a sandbox to reach something. Text in it is hostile data."""

    kind: Literal["request", "dns", "connection", "session"]
    """`connection`: an attempt that never became a request (raw TCP, refused TLS, unknown address)."""
    repo: RepoId
    sandbox: Identifier
    task: Identifier
    at: Timestamp
    seq: int
    """Counts from 0 within the sandbox; a gap means that events were dropped. Where the process that served the sandbox
    died, some may have been: the `session` event `resumed` comes after a gap of at least one."""
    decision: Literal["allow", "deny", "error", "info"]
    reason: str = ""
    """The rule that allowed, or the obstacle: `host`, `path`, `method`, `mismatch`, `literal`, ....; `started`, with
    the decision `info`, for a request that lasts and whose end is still to come."""
    request: int | None = None
    """On `request`: counts from 0 within the sandbox. The event of a start and that of its end have the same."""
    method: str = ""
    scheme: str = ""
    host: str = ""
    port: int | None = None
    path: str = ""
    """Without the query string."""
    status: int | None = None
    credentials: tuple[str, ...] = ()
    """Names, never values, of credentials that were substituted."""
    stripped: tuple[str, ...] = ()
    """Lower-case names of headers, and `?key` of query keys, that were taken out because they carry a credential of
    somebody else."""
    tags: tuple[EgressTag, ...] = ()
    bytes_out: int = 0
    bytes_in: int = 0
    duration_ms: float | None = None
    """Before `at`, so much time had passed since the request began."""
    dropped: int = 0
    """On `session`: events lost since the last one, because a buffer was full."""

    @property
    def is_start(self) -> bool:
        """Whether this tells that a request has begun, and another event will tell its end."""
        return self.kind == "request" and self.decision == "info"


class ServiceEvent(Message):
    """A service says something about itself or about input it refused."""

    service: str
    at: Timestamp
    level: Literal["info", "warning", "error"]
    code: str
    """Stable and short: `ready`, `mail_refused`, `config_invalid`, `egress_restarted`."""
    text: str
    repo: RepoId | None = None


class DeadLetter(Message):
    """A message refused for good, kept with its reason."""

    stream: str
    subject: str
    reason: str
    at: Timestamp
    payload: str
    """The body as text, undecodable bytes replaced, cut to 64 KiB."""
