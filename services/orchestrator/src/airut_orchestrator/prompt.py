"""What the agent is told before the message itself. Pure; see docs/conversations.md."""

from collections.abc import Sequence

from airut_common.contracts.v1 import TaskRequest

_CHANNELS = {"email": "by mail", "slack": "in Slack", "schedule": "by a schedule"}


def build_prompt(request: TaskRequest, *, inbox: Sequence[str], interrupted: bool, began_anew: bool) -> bytes:
    """The whole prompt, UTF-8. `inbox` names the files in /inbox; `interrupted` says that this is another try;
    `began_anew` that the thread's earlier conversation is not known here any more."""
    lines = [
        f"You are working for {request.sender}, who wrote {_CHANNELS[request.channel]}; "
        "your final answer is sent back to them in the same thread.",
        "",
        "- /workspace is your clone of the repository, and your working directory. Work on a branch of its own.",
        "- What you leave in /outbox is attached to your answer. /storage stays for this conversation.",
        "- The network reaches only what .airut/network-allowlist.yaml on the default branch names. If something is "
        "refused, say so in your answer; a change of that file takes effect when it is merged.",
        "- Credentials in the environment are stand-ins that work only through this network; use them as they are.",
    ]
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
