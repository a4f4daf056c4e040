"""From what went wrong to what the person who waits reads: what happened, what was kept, what to do."""

import errno
from dataclasses import dataclass

from airut_common.bus import BusUnavailable
from airut_common.contracts.v1 import Outcome
from airut_sandbox.agent_binary import AgentUnavailable
from airut_sandbox.errors import AttachFailed, SandboxError, SandboxRefused
from airut_sandbox.image import DockerfileRefused, ImageBuildFailed, ImageRefused
from airut_sandbox.mirror_errors import MirrorError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOTHING_RAN = "Nothing was run."
_HAD_BEGUN = "The agent had begun; its workspace was kept."
_AGAIN = "Reply in this thread to try again."
_OPERATOR = "Please tell the operator of this installation."
_MEND = "Mend it on the default branch, then reply in this thread."


class TaskFailure(Exception):
    """A task cannot go on. `reason` is one line for lists, `text` the whole answer."""

    def __init__(self, reason: str, text: str, outcome: Outcome = "refused") -> None:
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
    is_bug: bool = False
    """Nobody foresaw it: its traceback belongs in the log."""


def explain(error: BaseException, *, begun: bool = False) -> Explained:
    """Words for an error; `begun` says whether the agent had been started."""
    state = _HAD_BEGUN if begun else _NOTHING_RAN
    match error:
        case TaskFailure():
            return Explained(error.outcome, error.reason, error.text)
        case MirrorError():
            text = f"The repository could not be used: {error}. {state} {_AGAIN}"
            return Explained("failed", f"repository: {error}", text)
        case ImageBuildFailed():
            tail = (
                f"\n\nThe end of its output:\n\n```\n{fenced(error.output_tail)}\n```"
                if error.output_tail
                else ""
            )
            text = f"The image of the sandbox could not be built: {error}. {state} {_MEND}{tail}"
            return Explained("failed", f"image: {error}", text)
        case ImageRefused() | DockerfileRefused():
            text = f"The image of the sandbox was refused: {error}. {state} {_MEND}"
            return Explained("refused", f"image: {error}", text)
        case AgentUnavailable():
            text = f"The agent's program could not be had: {error}. {state} {_AGAIN}"
            return Explained("failed", f"agent: {error}", text)
        case AttachFailed():
            text = (
                f"The sandbox could not be given its network, and nothing runs without it. {_AGAIN} "
                f"If it happens again: {_OPERATOR}"
            )
            return Explained("failed", f"network: {error}", text)
        case SandboxRefused():
            text = f"The sandbox was not confined as it must be, so it was not used. {_OPERATOR}"
            return Explained("failed", f"sandbox refused: {error}", text)
        case SandboxError():
            text = f"The sandbox failed: {error}. {state} {_AGAIN}"
            return Explained("failed", f"sandbox: {error}", text)
        case BusUnavailable():
            text = f"A part of Airut did not answer. {state} {_AGAIN}"
            return Explained("failed", f"bus: {error}", text)
        case OSError() if error.errno in _DISK_FULL:
            return Explained("refused" if not begun else "failed", "the disk is full", disk_full(state))
    text = (
        f"Airut itself failed ({type(error).__name__}); this is not your message's fault. "
        f"{state} {_AGAIN} {_OPERATOR}"
    )
    return Explained("failed", f"internal error: {type(error).__name__}", text, is_bug=True)


def missing(file: str, branch: str) -> TaskFailure:
    """A file that a repository must have is not on its default branch."""
    return TaskFailure(
        f"{file} is missing",
        f"`{file}` is missing on the default branch ({branch}), so nothing was run. "
        "Add it (see docs/repository.md), merge, and reply in this thread.",
    )


def misconfigured(error: ValueError) -> TaskFailure:
    """The operator's configuration of a repository cannot be used."""
    return TaskFailure(
        f"configuration: {error}",
        f"The repository is not configured well, so nothing was run: {error}. {_OPERATOR}",
    )


def disk_full(state: str = _NOTHING_RAN) -> str:
    """Words for a host without room."""
    return f"The disk of Airut's host is full. {state} {_OPERATOR} Then reply in this thread."


def fenced(text: str) -> str:
    """Text that cannot end the block it is shown in, nor steer a terminal."""
    printable = "".join(c for c in text if c == "\n" or c.isprintable())
    return printable.replace("```", "'''")
