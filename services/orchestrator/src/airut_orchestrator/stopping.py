"""What is answered when something does not run to its end, or not at all. Pure."""

from airut_common.contracts.v1 import Reply
from airut_orchestrator.database.store import QueuedTask
from airut_orchestrator.replies import build_reply
from airut_orchestrator.verdict import Result

_GO_ON = "Reply to go on."


def answer_to_wish(task: QueuedTask, stopped: int) -> Reply:
    """The reply to the message that said it."""
    if stopped:
        text = f"Stopped {'one task' if stopped == 1 else f'{stopped} tasks'} of this conversation. {_GO_ON}"
    else:
        text = "Nothing of this conversation was running or waiting."
    return build_reply(task, Result("done", text), duration_seconds=0)


def never_begun(task: QueuedTask, by: str) -> Reply:
    """The reply to a message that waited."""
    text = f"Stopped by {by} before it began. Send it again to have it done."
    return build_reply(task, Result("stopped", text), duration_seconds=0)


def queue_full(task: QueuedTask) -> Reply:
    """The reply to a message that came when as many waited as may."""
    text = (
        "So many messages of this repository wait already that yours was not taken. Nothing was run. "
        "Send it again when some of them are done."
    )
    return build_reply(task, Result("refused", text), duration_seconds=0)


def stopped_at_work(by: str, answer: str) -> Result:
    """The end of a task that ran; `answer` is what the agent said last."""
    kept = f"\n\nWhat the agent said last:\n\n{answer}" if answer else ""
    return Result(
        "stopped", f"Stopped by {by}; what was done so far was kept. {_GO_ON}{kept}", f"stopped by {by}"
    )
