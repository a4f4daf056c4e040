"""Messages that wait in one conversation become one run of the agent: which ones, and who gets the answer. Pure."""

from collections.abc import Sequence
from typing import Final

from airut_common.contracts.v1 import Reply, TaskRequest
from airut_orchestrator.wishes import asks_to_stop

MAX_MESSAGES: Final = 20
MAX_TEXT_BYTES: Final = 256 * 1024
MAX_FILES: Final = 50
MAX_FILE_BYTES: Final = 64 * 1024 * 1024


def how_many_together(waiting: Sequence[TaskRequest]) -> int:
    """How many messages of a conversation, oldest first, are handed to the agent together. The first always is; then as
    many as fit the limits, in order. One that asks to stop is never handed over with others, nor are any across it."""
    if not waiting or asks_to_stop(waiting[0]):
        return min(len(waiting), 1)
    text = files = size = 0
    for count, request in enumerate(waiting[:MAX_MESSAGES]):
        text += len(request.text.encode("utf-8", "replace"))
        files += len(request.attachments)
        size += sum(file.size_bytes for file in request.attachments)
        fits = text <= MAX_TEXT_BYTES and files <= MAX_FILES and size <= MAX_FILE_BYTES
        if count and (not fits or asks_to_stop(request)):
            return count
    return min(len(waiting), MAX_MESSAGES)


def answer_all(reply: Reply, requests: Sequence[TaskRequest]) -> list[Reply]:
    """The answer to several messages (oldest first, the first is `reply`'s own), once for each author.

    Each copy answers the last message of its author, by that message's own route, so that nobody gets one but the
    proven author of a message that it answers. The first author's has the id of the reply, another's that of his first
    message.
    """
    first: dict[tuple[str, ...], TaskRequest] = {}
    last: dict[tuple[str, ...], TaskRequest] = {}
    for request in requests:
        author = (request.channel, request.route.recipient, request.route.from_address)
        first.setdefault(author, request)
        last[author] = request
    return [
        reply.model_copy(update={"id": first[author].id, "channel": request.channel, "route": request.route})
        for author, request in last.items()
    ]
