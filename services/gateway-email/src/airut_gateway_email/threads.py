"""Pure: message ids and conversations. A token in a mail selects a thread; it never authorises anybody."""

import re

from airut_gateway_email.content.charsets import decode_words
from airut_gateway_email.rawmail import RawMail

_ID = re.compile(r"<[!-;=?-~]{1,240}>")
_OURS = re.compile(
    r"<airut\.(?P<conversation>[a-z0-9][a-z0-9-]{0,63})\.[a-z0-9][a-z0-9-]{0,63}@(?P<host>[^>]+)>"
)
_TAG = re.compile(r"\[airut:(?P<conversation>[a-z0-9][a-z0-9-]{0,63})\]")
MAX_REFERENCES = 40


def issue_message_id(conversation: str, reply: str, hostname: str) -> str:
    """The Message-ID of a reply. The same reply has the same one, so a second copy is recognised as such. Kept short:
    some mail programs encode an id that does not fit into one line of a header, and the thread is lost."""
    return f"<airut.{conversation}.{reply[:12]}@{hostname}>"


def subject_tag(conversation: str) -> str:
    """What a person can put in the subject of a new mail to continue a conversation."""
    return f"[airut:{conversation}]"


def message_ids(value: str | None) -> tuple[str, ...]:
    """The well-formed ids of a header, in order."""
    return tuple(_ID.findall(value or ""))


def issued_here(identifier: str, hostname: str) -> str | None:
    """The conversation of a Message-ID of ours; None when it is not ours."""
    match = _OURS.fullmatch(identifier)
    return match["conversation"] if match and match["host"].lower() == hostname.lower() else None


def find_conversation(mail: RawMail, hostname: str) -> str | None:
    """The conversation this mail continues: from the ids we issued, nearest first, then from the subject."""
    parents = message_ids(mail.first("in-reply-to"))
    ancestors = message_ids(mail.first("references"))
    for identifier in (*parents, *reversed(ancestors)):
        conversation = issued_here(identifier, hostname)
        if conversation is not None:
            return conversation
    # Some programs encode a subject as soon as it has one letter beyond ASCII, the tag with it.
    tag = _TAG.search(decode_words(mail.first("subject") or ""))
    return tag["conversation"] if tag else None


def references_for_answer(mail: RawMail) -> tuple[str | None, tuple[str, ...]]:
    """`In-Reply-To` and `References` of an answer (RFC 5322 §3.6.4). A long history keeps its first and last ids."""
    own = message_ids(mail.first("message-id"))[:1]
    history = message_ids(mail.first("references")) or message_ids(mail.first("in-reply-to"))[:1]
    chain = tuple(dict.fromkeys((*history, *own)))
    if len(chain) > MAX_REFERENCES:
        chain = (chain[0], *chain[-MAX_REFERENCES + 1 :])
    return (own[0] if own else None), chain
