"""What the agent is told before the message itself. Pure; see docs/conversations.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Final, Self

from airut_common.contracts.v1 import TaskRequest

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

    def fill_in(self, request: TaskRequest) -> str:
        """The text for a message."""
        return self.template.substitute(sender=request.sender, channel=_CHANNELS[request.channel]).strip()


BUILT_IN: Final = Preamble(Template(_BUILT_IN))


def build_prompt(
    request: TaskRequest, preamble: Preamble, *, inbox: Sequence[str], interrupted: bool, began_anew: bool
) -> bytes:
    """The whole prompt, UTF-8. `inbox` names the files in /inbox; `interrupted` says that this is another try;
    `began_anew` that the thread's earlier conversation is not known here any more."""
    lines = [preamble.fill_in(request)]
    if inbox:
        lines.append(f"- /inbox holds the attachments: {', '.join(inbox)}.")
    if interrupted:
        lines.append(
            "- You were interrupted while you worked on this message. Look at what is done already, then finish it."
        )
    if began_anew:
        lines.append("- The earlier messages of this thread are not known here any more.")
    lines += ["", f"Subject: {request.subject}" if request.subject else "", "", request.text]
    # A lone surrogate from a broken mail must not stop the task.
    return "\n".join(lines).encode("utf-8", "replace")
