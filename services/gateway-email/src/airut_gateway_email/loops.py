"""Pure: mail that no person wrote. Answering it is how two programs write to each other for ever (row 53)."""

import re

from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.threads import issued_here, message_ids

_BULK = frozenset({"bulk", "list", "junk", "auto_reply"})


def automatic_reason(mail: RawMail, *, mail_from: str | None, own_author: bool, hostname: str) -> str | None:
    """Why this mail counts as automatic; None when a person may have written it.

    Args:
        mail: The mail.
        mail_from: The envelope's sender; empty or `<>` is the null return path. None: not known; then the header
            `Return-Path` of the server in front tells.
        own_author: Whether its author is one of our own addresses.
        hostname: The domain of the Message-IDs that we issue. It may be the users' own domain, too.
    """
    if mail_from in ("", "<>") or "<>" in mail.all("return-path"):
        return "its return path is empty, as that of a bounce"
    if own_author:
        return "it comes from an address of this installation"
    keyword = (mail.first("auto-submitted") or "no").split(";")[0].strip().lower()
    if keyword != "no":  # RFC 3834 §5
        return "it says Auto-Submitted"
    if (mail.first("precedence") or "").strip().lower() in _BULK:
        return "it says Precedence: bulk, list or junk"
    for field in mail.fields:
        if field.name.startswith("list-"):
            return "it comes from a mailing list"
        if field.name in ("x-auto-response-suppress", "x-autoreply", "x-autorespond", "x-loop"):
            return f"it has the header {field.name.title()} of automatic mail"
    if re.match(r"multipart/report\b", mail.first("content-type") or "", re.IGNORECASE):
        return "it is a delivery report"
    if any(issued_here(identifier, hostname) for identifier in message_ids(mail.first("message-id"))):
        return "its Message-ID was issued here"
    return None
