"""The one reply to a task, bounded. Pure."""

from collections.abc import Sequence

from airut_common.contracts.v1 import Reply, Usage, utc_now
from airut_orchestrator.database.store import QueuedTask
from airut_orchestrator.verdict import Result

MAX_NOTES = 40
MAX_NOTE_CHARACTERS = 500
SHORT_TEXT_CHARACTERS = 2000
SHORT_REFERENCES = 10
SHORT_ATTACHMENTS = 20
NEW_CONVERSATION = (
    "The conversation that your message continues is not known here, so a new one was begun: "
    "the agent knew nothing of earlier messages and files."
)


def build_reply(task: QueuedTask, result: Result, duration_seconds: float) -> Reply:
    """The answer to a task."""
    request = task.request
    usage = result.usage or Usage(duration_seconds=0)
    notes = [NEW_CONVERSATION, *result.notes] if task.began_anew else result.notes
    return Reply(
        id=task.id,
        repo=request.repo,
        channel=request.channel,
        conversation=task.conversation,
        outcome=result.outcome,
        text=result.text,
        notes=_bounded(notes),
        attachments=tuple(result.attachments),
        usage=usage.model_copy(update={"duration_seconds": round(duration_seconds, 1)}),
        route=request.route,
        created_at=utc_now(),
    )


def task_page(public_url: str | None, task: str) -> str | None:
    """The dashboard's page of a task; None when the dashboard has no public URL."""
    return f"{public_url.rstrip('/')}/tasks/{task}" if public_url else None


def shortened(reply: Reply) -> Reply:
    """A reply that fits wherever its request did."""
    route = reply.route.model_copy(update={"references": reply.route.references[-SHORT_REFERENCES:]})
    text = (
        reply.text[:SHORT_TEXT_CHARACTERS]
        + "\n\n(The answer was longer than the bus takes and has been cut.)"
    )
    return reply.model_copy(
        update={
            "text": text,
            "notes": (),
            "attachments": reply.attachments[:SHORT_ATTACHMENTS],
            "route": route,
        }
    )


def _bounded(notes: Sequence[str]) -> tuple[str, ...]:
    shown = [note[:MAX_NOTE_CHARACTERS] for note in notes[:MAX_NOTES]]
    if len(notes) > MAX_NOTES:
        shown.append(f"… and {len(notes) - MAX_NOTES} more notes.")
    return tuple(shown)
