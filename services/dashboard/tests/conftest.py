"""Events with pleasant defaults, and a read model filled by them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airut_common.contracts.v1 import AgentOutput, AgentProgress, EgressEvent, TaskStateChanged

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Maker = Callable[..., Any]


@pytest.fixture
def state() -> Maker:
    def make(task: str = "t1", at: int = 0, **fields: Any) -> TaskStateChanged:
        values = {"repo": "demo", "conversation": "c1", "state": "queued", "subject": "Hello"} | fields
        return TaskStateChanged(task=task, at=START + timedelta(seconds=at), **values)

    return make


@pytest.fixture
def said() -> Maker:
    def make(text: str = "hi", task: str = "t1", at: int = 1, seq: int = 0, **fields: Any) -> AgentOutput:
        values = {"repo": "demo", "conversation": "c1", "type": "text"} | fields
        return AgentOutput(task=task, at=START + timedelta(seconds=at), seq=seq, text=text, **values)

    return make


@pytest.fixture
def request_event() -> Maker:
    def make(task: str = "t1", at: int = 2, seq: int = 0, **fields: Any) -> EgressEvent:
        values = {
            "repo": "demo",
            "sandbox": "s1",
            "kind": "request",
            "decision": "allow",
            "host": "a.example",
        } | fields
        return EgressEvent(task=task, at=START + timedelta(seconds=at), seq=seq, **values)

    return make


@pytest.fixture
def progress() -> Maker:
    def make(task: str = "t1", at: int = 1, **fields: Any) -> AgentProgress:
        values = {"repo": "demo", "conversation": "c1"} | fields
        return AgentProgress(task=task, at=START + timedelta(seconds=at), **values)

    return make
