"""Version 1 of every message on the bus. A sample of each lies in `samples/`."""

from .base import REPO_ID_PATTERN, Identifier, Message, RepoId, new_id, utc_now
from .control import (
    CloseSession,
    CollectGarbage,
    GarbageCollected,
    OpenSession,
    Refused,
    SessionClosed,
    SessionOpened,
    StopAnswered,
    StopTask,
)
from .events import (
    FINAL_STATES,
    AgentOutput,
    AgentProgress,
    DeadLetter,
    EgressEvent,
    EgressTag,
    PlanStep,
    ServiceEvent,
    TaskEvent,
    TaskState,
    TaskStateChanged,
)
from .files import BlobRef
from .reply import Outcome, Reply, Usage
from .task import ChannelName, EmailEvidence, EmailRoute, TaskRequest

__all__ = [
    "FINAL_STATES",
    "REPO_ID_PATTERN",
    "AgentOutput",
    "AgentProgress",
    "BlobRef",
    "ChannelName",
    "CloseSession",
    "CollectGarbage",
    "DeadLetter",
    "EgressEvent",
    "EgressTag",
    "EmailEvidence",
    "EmailRoute",
    "GarbageCollected",
    "Identifier",
    "Message",
    "OpenSession",
    "Outcome",
    "PlanStep",
    "Refused",
    "Reply",
    "RepoId",
    "ServiceEvent",
    "SessionClosed",
    "SessionOpened",
    "StopAnswered",
    "StopTask",
    "TaskEvent",
    "TaskRequest",
    "TaskState",
    "TaskStateChanged",
    "Usage",
    "new_id",
    "utc_now",
]
