"""Hostile text as one short line: no terminal escapes, no control, invisible or direction characters. Pure."""

import re

#: Of ECMA-48: control sequences, strings (titles, links) to their end, and two-character escapes; 7 bits and 8.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)


def one_line(text: str, most: int) -> str:
    """At most `most` characters of a text; `…` says that there was more. Looks at a bounded part of it only."""
    part = text[: most * 8]
    visible = (char for char in _ESCAPE.sub("", part) if char.isprintable() or char.isspace())
    shown = " ".join("".join(visible).split())
    if len(shown) > most or len(text) > len(part):
        return shown[: most - 1] + "…"
    return shown
