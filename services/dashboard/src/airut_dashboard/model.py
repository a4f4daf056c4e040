"""The read model: what the event stream says of tasks, bounded in memory and rebuilt at every start. Pure:
no clock, no I/O."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from airut_common.contracts.v1 import (
    FINAL_STATES,
    AgentOutput,
    AgentProgress,
    EgressEvent,
    EmailEvidence,
    PlanStep,
    ServiceEvent,
    TaskStateChanged,
    Usage,
)

MAX_TASKS = 500
MAX_CHANGES_PER_TASK = 4000
MAX_SERVICE_EVENTS = 100

Entry = TaskStateChanged | AgentOutput | AgentProgress | EgressEvent


@dataclass(frozen=True)
class Change:
    """Something a page may have to show: which task, what happened, and where it stands in the stream."""

    sequence: int
    task: str
    entry: Entry
    start: int | None = None
    """Of a request that was shown while it was under way: where its start stands. The end takes its place."""

    @property
    def key(self) -> int:
        """Names the row of a page."""
        return self.sequence if self.start is None else self.start


@dataclass
class TaskView:
    """One task as far as it is known."""

    id: str
    repo: str
    conversation: str
    created_at: datetime
    updated_at: datetime
    state: str = "queued"
    channel: str = ""
    sender: str = ""
    subject: str = ""
    evidence: EmailEvidence | None = None
    """Why the sender is believed."""
    reason: str | None = None
    place: int | None = None
    """While it waits: 1 is next of its conversation."""
    waits_for: str | None = None
    """While it waits: `turn` or `slot`."""
    merged_into: str | None = None
    """The task that works on this message, when it was handed over together with an earlier one."""
    merged: list[str] = field(default_factory=list)
    """The messages that were merged into this task."""
    progress: Change | None = None
    """What the agent said last of what it does."""
    plan: tuple[PlanStep, ...] = ()
    plan_left_out: int = 0
    usage: Usage | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    agent_version: str | None = None
    network_sandbox: bool = True
    """False: it ran, or runs, with its repository's network sandbox switched off."""
    requests: int = 0
    denied: int = 0
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=MAX_CHANGES_PER_TASK))
    """What happened last, in stream order."""
    under_way: dict[tuple[str, int], int] = field(default_factory=dict)
    """Sandbox and number of each request whose start was told and whose end was not, to where its start stands."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in FINAL_STATES

    @property
    def activity(self) -> str:
        """What the agent does now, or how far its repository has come; empty when that is not known, or past."""
        at_work = self.state in {"preparing", "running"}
        entry = self.progress.entry if self.progress is not None and at_work else None
        return entry.activity if isinstance(entry, AgentProgress) else ""

    @property
    def outputs(self) -> list[Change]:
        """What the agent said and did."""
        return [change for change in self.changes if isinstance(change.entry, AgentOutput)]

    @property
    def network(self) -> list[Change]:
        """What its sandbox tried to reach: a request that is under way by its start, later by its end."""
        ended = {change.start for change in self.changes}
        return [
            change
            for change in self.changes
            if isinstance(change.entry, EgressEvent) and change.sequence not in ended
        ]


class ReadModel:
    """Applies events in stream order; the stream itself drops what is published twice."""

    def __init__(self, max_tasks: int = MAX_TASKS) -> None:
        self._tasks: OrderedDict[str, TaskView] = OrderedDict()
        self._max_tasks = max_tasks
        self.sequence = 0
        """Stream sequence of the newest event taken in."""
        self.service_events: deque[ServiceEvent] = deque(maxlen=MAX_SERVICE_EVENTS)

    def task(self, task_id: str) -> TaskView | None:
        """The task, or None when it is unknown or long forgotten."""
        return self._tasks.get(task_id)

    def tasks(self) -> list[TaskView]:
        """All tasks: those that still go on first, then the newest."""
        newest_first = sorted(self._tasks.values(), key=lambda task: task.created_at, reverse=True)
        return sorted(newest_first, key=lambda task: task.is_final)

    def conversation(self, conversation: str) -> list[TaskView]:
        """The tasks of one conversation, oldest first."""
        found = (task for task in self._tasks.values() if task.conversation == conversation)
        return sorted(found, key=lambda task: task.created_at)

    def apply(self, sequence: int, entry: Entry) -> Change:
        """Take one event in."""
        view = self._view(entry)
        start = None
        match entry:
            case TaskStateChanged():
                _apply_state(view, entry)
                self._note_merged(entry)
            case EgressEvent():
                start = _apply_network(view, sequence, entry)
            case AgentOutput():
                view.conversation = entry.conversation
            case AgentProgress():
                view.conversation = entry.conversation
        change = Change(sequence, view.id, entry, start)
        if isinstance(entry, AgentProgress):
            # Only the latest is worth anything: it takes the place of the one before.
            _apply_progress(view, change, entry)
        else:
            view.changes.append(change)
        view.updated_at = max(view.updated_at, entry.at)
        self.sequence = sequence
        return change

    def apply_service(self, event: ServiceEvent) -> None:
        """Keep what a service said of itself."""
        self.service_events.appendleft(event)

    def _view(self, entry: Entry) -> TaskView:
        view = self._tasks.get(entry.task)
        if view is None:
            # An egress event may overtake the task's own first event: they come from different services.
            conversation = "" if isinstance(entry, EgressEvent) else entry.conversation
            view = TaskView(entry.task, entry.repo, conversation, created_at=entry.at, updated_at=entry.at)
            self._tasks[entry.task] = view
            self._forget_oldest()
        return view

    def _note_merged(self, event: TaskStateChanged) -> None:
        into = self._tasks.get(event.merged_into or "")
        if into is not None and event.task not in into.merged:
            into.merged.append(event.task)

    def _forget_oldest(self) -> None:
        for task_id in _surplus(self._tasks.values(), len(self._tasks) - self._max_tasks):
            del self._tasks[task_id]


def _surplus(tasks: Iterable[TaskView], count: int) -> list[str]:
    """Ids to forget: finished tasks first, oldest first; running ones only when there are too many of them."""
    if count <= 0:
        return []
    by_age = sorted(tasks, key=lambda task: (not task.is_final, task.created_at))
    return [task.id for task in by_age[:count]]


def _apply_state(view: TaskView, event: TaskStateChanged) -> None:
    if view.is_final and event.state not in FINAL_STATES:
        return  # a late event of an earlier try does not bring a finished task back
    view.state = event.state
    view.place, view.waits_for = event.place, event.waits_for
    view.merged_into = event.merged_into
    view.conversation = event.conversation or view.conversation
    view.channel = event.channel or view.channel
    view.sender = event.sender or view.sender
    view.subject = event.subject or view.subject
    view.evidence = event.evidence or view.evidence
    view.reason = event.reason
    view.usage = event.usage or view.usage
    view.timings_ms |= event.timings_ms
    view.agent_version = event.agent_version or view.agent_version
    view.network_sandbox = view.network_sandbox and event.network_sandbox


def _apply_progress(view: TaskView, change: Change, event: AgentProgress) -> None:
    view.progress = change
    if event.plan is not None:
        view.plan, view.plan_left_out = event.plan, event.plan_left_out


def _apply_network(view: TaskView, sequence: int, event: EgressEvent) -> int | None:
    """Count it; where the start of the request stands that it ends."""
    if event.is_start:
        if event.request is not None and len(view.under_way) < MAX_CHANGES_PER_TASK:
            view.under_way[event.sandbox, event.request] = sequence
        return None
    if event.kind == "session" and event.reason == "opened":
        # The proxy was restarted: its requests count anew, and the old ones have lost their ends.
        view.under_way.clear()
    if event.kind in {"request", "connection"}:
        view.requests += 1
        view.denied += event.decision == "deny"
    return None if event.request is None else view.under_way.pop((event.sandbox, event.request), None)
