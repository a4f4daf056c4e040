"""Pure: the short mail that says that a message was taken."""

from airut_common.contracts.v1 import Acknowledgement
from airut_gateway_email.outgoing import OutgoingMail, begin_message, how_to_continue, web_link
from airut_gateway_email.threads import issue_message_id

_WAITS = {
    "turn": "an earlier one of the conversation is at work",
    "slot": "as many tasks are at work as may be",
}


def acknowledgement_key(task: str) -> str:
    """What a task's acknowledgement is known by, beside its answer. Of its first twelve characters a Message-ID is
    made, so it begins unlike any task's id."""
    return f"t-{task}"


def build_acknowledgement(taken: Acknowledgement, hostname: str) -> OutgoingMail:
    """The same mail to the byte whenever it is built.

    Raises:
        BadAddress: the route names something that is no address.
    """
    message_id = issue_message_id(taken.conversation, acknowledgement_key(taken.id), hostname)
    message = begin_message(taken.repo, taken.route, message_id, taken.created_at)
    message.set_content(_text(taken), cte="quoted-printable")
    return OutgoingMail.of(message, taken.route)


def _text(taken: Acknowledgement) -> str:
    lines = ["Your message was taken and will be worked on. The answer comes as a mail of its own."]
    if taken.waits_for is not None:
        lines += ["", f"It waits at place {taken.place} of its conversation: {_WAITS[taken.waits_for]}."]
    lines += ["", "-- ", f"Airut · {taken.repo}"]
    if (link := web_link(taken.link)) is not None:
        lines.append(link)
    return "\n".join([*lines, how_to_continue(taken.conversation), ""])
