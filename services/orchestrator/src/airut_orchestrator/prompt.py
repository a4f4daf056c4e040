"""What the agent is told before the message itself. Pure; see docs/conversations.md."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from string import Template
from typing import Final, Self

from airut_common.config.models import LimitsConfig
from airut_common.contracts.v1 import TaskRequest
from airut_orchestrator.database.history import Exchange
from airut_sandbox.outbox import InboxEntry

PREAMBLE_FILE: Final = ".airut/preamble.md"
MAX_PREAMBLE_BYTES: Final = 32 * 1024
_CHANNELS: Final = {"email": "by mail", "slack": "in Slack", "schedule": "by a schedule"}
_BUILT_IN: Final = """\
You are working for $sender, who wrote $channel; your final answer is sent back to them in the same thread.

- /workspace is your clone of the repository, and your working directory. Work on a branch of its own.
- What you leave in /outbox is attached to your answer. /storage stays for this conversation.
- The network reaches only what .airut/network-allowlist.yaml on the default branch names, and your tools are those of \
.airut/container/Dockerfile. If something is refused or missing, say so in your answer, or propose a change of these \
files in a pull request; it takes effect when it is merged.
- Credentials in the environment are stand-ins that work only through this network; use them as they are.
"""


class BadPreamble(ValueError):
    """A repository's own preamble cannot be used; the message names the line."""


@dataclass(frozen=True)
class Preamble:
    """Text that comes before every message; `$sender` and `$channel` are filled in, `$$` is a dollar sign."""

    template: Template

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """A repository's own.

        Raises:
            BadPreamble: not UTF-8, or a `$` that means nothing.
        """
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadPreamble(f"line {data.count(b'\n', 0, error.start) + 1} is not UTF-8") from None
        for number, line in enumerate(text.split("\n"), 1):
            template = Template(line)
            names = set(template.get_identifiers()) if template.is_valid() else {""}
            if not names <= {"sender", "channel"}:
                raise BadPreamble(
                    f"line {number}: only $sender and $channel are known; a dollar sign is written $$"
                )
        return cls(Template(text))

    def fill_in(self, requests: Sequence[TaskRequest]) -> str:
        """The text for one message, or several."""
        senders = dict.fromkeys(request.sender for request in requests)
        channels = dict.fromkeys(_CHANNELS[request.channel] for request in requests)
        return self.template.substitute(sender=", ".join(senders), channel=" and ".join(channels)).strip()


BUILT_IN: Final = Preamble(Template(_BUILT_IN))


def build_prompt(
    requests: Sequence[TaskRequest],
    preamble: Preamble,
    *,
    inbox: Sequence[InboxEntry],
    interrupted: bool,
    began_anew: bool,
    workspace_lost: bool = False,
    too_full: LimitsConfig | None = None,
    history: Sequence[Exchange] = (),
) -> bytes:
    """The whole prompt for one message, or several in order; UTF-8. `inbox` tells the files in /inbox; `interrupted`
    says that this is another try; `began_anew` that the agent does not know the thread any more; `history` is what was
    said in it that the agent may not know; `workspace_lost` says that the workspace is gone with the host that held
    it; `too_full` that the conversation's folders hold more than these limits allow."""
    lines = [preamble.fill_in(requests)]
    if inbox:
        lines.append(f"- /inbox holds the attachments: {', '.join(entry.file for entry in inbox)}.")
    if interrupted:
        lines.append(
            "- You were interrupted while you worked on this message. Look at what is done already, then finish it."
        )
    if workspace_lost:
        lines.append(
            "- The machine that held your workspace is gone: /workspace is a fresh clone of the default branch. What "
            "was pushed before is on its branch at the remote."
        )
    if too_full is not None:
        lines.append(
            f"- Your folders (/workspace, /storage, /outbox and /agent) hold more than the {too_full.disk_mib} MiB or "
            f"{too_full.files} files that they may. First remove what is not needed any more, and say in your answer "
            "what it was. If they grow by much instead, you are stopped."
        )
    if history:
        lines += _told_again(history, began_anew=began_anew)
    elif began_anew:
        lines.append("- The earlier messages of this thread are not known here any more.")
    if len(requests) == 1:
        lines += ["", *_subject(requests[0]), "", requests[0].text]
    else:
        lines += _several(requests, inbox)
    # A lone surrogate from a broken mail must not stop the task.
    return "\n".join(lines).encode("utf-8", "replace")


def _told_again(history: Sequence[Exchange], *, began_anew: bool) -> Iterator[str]:
    mark = secrets.token_hex(4)
    what = (
        "Your own memory of this thread is lost. What was said in it last"
        if began_anew
        else "What was said last in this thread while you could not work on it"
    )
    yield (
        f"- {what}, shortened, follows under lines that begin with `[{mark}]`. It is a record and asks for nothing any "
        "more; the message itself comes after it."
    )
    for each in history:
        at = each.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield f"[{mark}] {each.sender} wrote, {at}:"
        yield each.asked
        if each.answered:
            yield f"[{mark}] {'You answered' if began_anew else 'The answer was'}:"
            yield each.answered
    yield f"[{mark}] End of the record."


def _several(requests: Sequence[TaskRequest], inbox: Sequence[InboxEntry]) -> Iterator[str]:
    # A mark that nobody could know who wrote one of them: what looks like a heading in a message is its own text.
    mark = secrets.token_hex(4)
    yield (
        f"- {len(requests)} messages came while you could not work on them, each under a line that begins with "
        f"`[{mark}]`. Read all of them first: a later one may change an earlier one. Your one answer is for all."
    )
    for number, request in enumerate(requests, 1):
        files = [entry.file for entry in inbox if entry.message == number]
        brought = f", with {', '.join(files)}" if files else ""
        at = request.received_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield ""
        yield f"[{mark}] Message {number} of {len(requests)}, from {request.sender}, {at}{brought}"
        yield from _subject(request)
        yield ""
        yield request.text


def _subject(request: TaskRequest) -> Sequence[str]:
    return [f"Subject: {request.subject}"] if request.subject else []
