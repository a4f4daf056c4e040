"""Which model works on a message, and how hard: what its sender asks for, within what the repository allows. Pure."""

import re
from dataclasses import dataclass, replace
from typing import Final, get_args

from airut_common.config.models import AgentConfig, Effort
from airut_common.contracts.v1 import TaskRequest
from airut_orchestrator.database.store import QueuedTask
from airut_orchestrator.failures import TaskFailure

EFFORTS: Final[tuple[str, ...]] = get_args(Effort)
_HINT: Final = re.compile(r"[ \t]*(model|effort)[ \t]*:[ \t]*(\S+)[ \t]*", re.IGNORECASE)
_SHOWN: Final = 60


@dataclass(frozen=True)
class Choice:
    """What a task runs with; None is the agent's own default."""

    model: str | None = None
    effort: str | None = None


def choose(task: QueuedTask, config: AgentConfig) -> tuple[QueuedTask, Choice]:
    """The task without its hints, and what they come to. Hints are the first lines of a message, such as `model: opus`
    or `effort: high`; the channel may have one for the model, too. The message's own word comes first, and of several
    messages the last that says something.

    Raises:
        TaskFailure: something is asked for that this repository does not allow.
    """
    requests: list[TaskRequest] = []
    model = effort = None
    for request in task.requests:
        hints, text = read_hints(request.text)
        model = hints.get("model") or request.model or model
        effort = hints.get("effort") or effort
        requests.append(request.model_copy(update={"text": text}))
    if model is not None and config.models is not None and model not in {*config.models, config.model}:
        raise _refused("model", model, config.models)
    if effort is not None and effort.lower() not in EFFORTS:
        raise _refused("effort", effort, EFFORTS)
    choice = Choice(model or config.model, effort.lower() if effort else config.effort)
    return replace(task, request=requests[0], merged=tuple(requests[1:])), choice


def read_hints(text: str) -> tuple[dict[str, str], str]:
    """The hints at the beginning of a message, by name, and the message without them. A message that is nothing but
    hints is left as it is: it says nothing else."""
    lines = text.split("\n")
    hints: dict[str, str] = {}
    count = 0
    for line in lines:
        found = _HINT.fullmatch(line.rstrip("\r"))
        if found is None or found[1].lower() in hints:
            break
        hints[found[1].lower()] = found[2]
        count += 1
    rest = "\n".join(lines[count:]).lstrip("\r\n")
    return (hints, rest) if rest.strip() else (hints, text)


def _refused(what: str, asked: str, known: tuple[str, ...]) -> TaskFailure:
    shown = "".join(char for char in asked[:_SHOWN] if char.isprintable() and char != "`")
    return TaskFailure(
        f"{what} {shown}",
        f"Nothing was run: this repository has no {what} `{shown}`. You can ask for "
        f"{', '.join(f'`{name}`' for name in known)}. Send your message again with one of these, or without.",
    )
