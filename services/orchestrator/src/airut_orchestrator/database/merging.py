"""Messages of one conversation that become one task, inside of a transaction of the store's."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from airut_common.contracts.v1 import Reply, TaskRequest, utc_now
from airut_orchestrator.database.schema import OutgoingReply, Task
from airut_orchestrator.together import MAX_MESSAGES, answer_all, how_many_together


def merged_into(session: Session, task: Task) -> tuple[TaskRequest, ...]:
    """The messages that were merged into a task, in order."""
    if task.sandbox is None:
        return ()  # it was never begun: thousands that wait are not asked for one by one
    found = session.scalars(
        select(Task.request)
        .where(Task.conversation == task.conversation, Task.position > task.position)
        .where(Task.merged_into == task.id)
        .order_by(Task.position)
    )
    return tuple(TaskRequest.model_validate_json(request) for request in found)


def merge_waiting(session: Session, task: Task, merged: tuple[TaskRequest, ...]) -> tuple[TaskRequest, ...]:
    """Merge into a task that begins what waits behind it, besides what it has; what was taken, in order."""
    later = session.scalars(
        select(Task)
        .where(Task.conversation == task.conversation, Task.state == "queued", Task.position > task.position)
        .order_by(Task.position)
        .limit(MAX_MESSAGES)
    )
    rows = {row: TaskRequest.model_validate_json(row.request) for row in later}
    present = [TaskRequest.model_validate_json(task.request), *merged]
    room = how_many_together([*present, *rows.values()]) - len(present)
    taken = list(rows.items())[: max(room, 0)]
    for row, _ in taken:
        row.state, row.merged_into, row.finished_at = "merged", task.id, utc_now()
    return tuple(request for _, request in taken)


def answer(session: Session, task: Task, reply: Reply) -> None:
    """Put the reply on its way to every author of the task's messages."""
    requests = [TaskRequest.model_validate_json(task.request), *merged_into(session, task)]
    for each in answer_all(reply, requests):
        session.add(OutgoingReply(task=each.id, reply=each.model_dump_json()))
