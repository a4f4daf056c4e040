"""What the end of an agent means for the person who waits. Pure."""

from dataclasses import dataclass, field

from airut_common.config.models import LimitsConfig
from airut_common.contracts.v1 import BlobRef, Outcome, Usage
from airut_orchestrator.failures import fenced
from airut_orchestrator.transcript import Transcript
from airut_sandbox.container import DiskEnd, Exit
from airut_sandbox.disk import allowance, why_stopped

STDERR_SHOWN = 1500
_GO_ON = "Reply to go on."
_KEPT = "its workspace was kept"


@dataclass
class Result:
    """What a task came to."""

    outcome: Outcome
    text: str
    reason: str | None = None
    """One line for lists; None when all is well."""
    notes: list[str] = field(default_factory=list)
    attachments: list[BlobRef] = field(default_factory=list)
    usage: Usage | None = None
    agent_session: str | None = None


def judge(ended: Exit, said: Transcript, limits: LimitsConfig) -> Result:
    """From how the process ended and what it said to an outcome, in words."""
    result = _judge(ended, said, limits)
    result.notes += _about_the_disk(ended.disk, limits)
    result.usage, result.agent_session = said.usage, said.session
    return result


def _judge(ended: Exit, said: Transcript, limits: LimitsConfig) -> Result:
    answer = said.answer
    kept = f"\n\nWhat the agent said last:\n\n{answer}" if answer else ""
    if said.result is not None and not said.failed:
        # The work is done, whatever kept the process from ending after it.
        return Result("done", answer or "(The agent finished without a word.)")
    if ended.disk.stopped is not None:
        reason = why_stopped(ended.disk.stopped, limits)
        return Result("failed", f"The agent was stopped because {reason}; {_KEPT}. {_GO_ON}{kept}", reason)
    if ended.timed_out:
        limit = _minutes(limits.timeout_seconds)
        text = f"The agent did not finish within {limit} and was stopped; {_KEPT}. {_GO_ON}{kept}"
        return Result("timed_out", text, f"not finished within {limit}")
    if ended.oom_killed:
        text = f"The agent was stopped because it used more memory than it may; {_KEPT}. {_GO_ON}{kept}"
        return Result("failed", text, "out of memory")
    if said.failed:
        return Result(
            "failed", f"The agent reported an error; {_KEPT}. {_GO_ON}{kept}", "the agent reported an error"
        )
    errors = fenced(ended.stderr_tail.decode("utf-8", "replace")[-STDERR_SHOWN:].strip())
    shown = f"\n\nThe end of its standard error:\n\n```\n{errors}\n```" if errors else ""
    if said.not_understood and not said.understood:
        text = f"The agent's output could not be understood (exit code {ended.code}); {_KEPT}.{shown}"
        return Result("failed", text, "output that could not be understood")
    text = f"The agent ended without an answer (exit code {ended.code}); {_KEPT}. {_GO_ON}{kept}{shown}"
    return Result("failed", text, f"the agent ended with exit code {ended.code} and no answer")


def _about_the_disk(disk: DiskEnd, limits: LimitsConfig) -> list[str]:
    notes: list[str] = []
    if disk.files_removed:
        files = "file was" if disk.files_removed == 1 else f"{disk.files_removed} files were"
        notes.append(
            f"To give the host its room back, the largest {files} removed that the agent had written."
        )
    if disk.still_over == "depth":
        notes.append(
            "This conversation's folders are nested too deeply to be measured, so its next task is stopped as well. "
            "Begin a new conversation."
        )
    elif disk.still_over is not None:
        notes.append(
            f"This conversation's folders hold more than they may ({allowance(limits)}, {limits.files:,} files). The "
            "next task may clean up, and is told so; it is stopped if they grow by much."
        )
    return notes


def _minutes(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds / 60:.4g} min"
