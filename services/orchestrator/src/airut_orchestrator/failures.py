"""From what went wrong to what the person who waits reads: what happened, what was kept, what to do."""

from dataclasses import dataclass

from airut_common.bus import BusUnavailable
from airut_common.contracts.v1 import Outcome
from airut_sandbox.agent_binary import AgentUnavailable
from airut_sandbox.errors import AttachFailed, SandboxError, SandboxRefused
from airut_sandbox.image import ImageBuildFailed, ImageRefused
from airut_sandbox.mirror_errors import MirrorError

_NOTHING_RAN = "Nothing was run."
_AGAIN = "Reply in this thread to try again."
_OPERATOR = "Please tell the operator of this installation."


class TaskFailure(Exception):
    """A task cannot go on. `reason` is one line for lists, `text` the whole answer."""

    def __init__(self, reason: str, text: str, outcome: Outcome = "failed") -> None:
        super().__init__(reason)
        self.reason = reason
        self.text = text
        self.outcome: Outcome = outcome


@dataclass(frozen=True)
class Explained:
    """A failure in words."""

    outcome: Outcome
    reason: str
    text: str


def explain(error: BaseException) -> Explained:
    """Words for an error. One that nobody foresaw is admitted as our own; its traceback is in the log only."""
    match error:
        case TaskFailure():
            return Explained(error.outcome, error.reason, error.text)
        case MirrorError():
            text = f"The repository could not be fetched: {error}. {_NOTHING_RAN} {_AGAIN}"
            return Explained("failed", f"repository: {error}", text)
        case ImageBuildFailed():
            tail = f"\n\nThe end of its output:\n\n```\n{error.output_tail}\n```" if error.output_tail else ""
            text = f"The image of the sandbox could not be built: {error}. {_NOTHING_RAN}{tail}"
            return Explained("failed", f"image: {error}", text)
        case ImageRefused():
            text = (
                f"The image of the sandbox was refused: {error}. {_NOTHING_RAN} "
                "Mend it on the default branch, then reply."
            )
            return Explained("failed", f"image: {error}", text)
        case AgentUnavailable():
            text = f"The agent's program could not be had: {error}. {_NOTHING_RAN} {_AGAIN}"
            return Explained("failed", f"agent: {error}", text)
        case AttachFailed():
            text = (
                "The sandbox could not be given its network, so it was not started. "
                f"{_AGAIN} If it happens again: {_OPERATOR}"
            )
            return Explained("failed", f"network: {error}", text)
        case SandboxRefused():
            text = f"The sandbox was not confined as it must be, so it was not used. {_OPERATOR}"
            return Explained("failed", f"sandbox refused: {error}", text)
        case SandboxError():
            return Explained(
                "failed", f"sandbox: {error}", f"The sandbox could not be run: {error}. {_AGAIN}"
            )
        case BusUnavailable():
            text = f"A part of Airut did not answer. {_NOTHING_RAN} {_AGAIN}"
            return Explained("failed", f"bus: {error}", text)
        case OSError() if error.errno == 28:
            text = f"The host's disk is full. {_NOTHING_RAN} {_OPERATOR}"
            return Explained("failed", "the disk is full", text)
    text = f"Airut itself failed ({type(error).__name__}); this is not your message's fault. {_AGAIN} {_OPERATOR}"
    return Explained("failed", f"internal error: {type(error).__name__}", text)
