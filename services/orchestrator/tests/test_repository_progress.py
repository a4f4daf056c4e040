from datetime import datetime

import airut_orchestrator.repository_progress as module
from airut_common.contracts.v1 import AgentProgress, utc_now
from airut_common.testing.builders import task_request
from airut_orchestrator.database.store import QueuedTask
from airut_orchestrator.repository_progress import RepositoryProgress


def task(claimed_at: datetime) -> QueuedTask:
    return QueuedTask(task_request(id="t"), "c", None, 1, None, claimed_at)


def test_one_line_in_a_second_is_told_and_none_in_the_first(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    told: list[AgentProgress] = []
    progress = RepositoryProgress(task(utc_now()), told.append)
    for now in (100.0, 100.9, 101.0, 101.5, 101.9, 102.5):
        progress(f"receiving objects: {now} %")
    assert [event.activity for event in told] == [
        "the repository: receiving objects: 101.0 %",
        "the repository: receiving objects: 102.5 %",
    ]
    assert (told[0].task, told[0].conversation) == ("t", "c")
