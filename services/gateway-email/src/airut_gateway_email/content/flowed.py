"""Pure: paragraphs that a mail program broke into lines become whole again (`format=flowed`, RFC 3676)."""

_SIGNATURE = "-- "
"""Ends in a space and is not flowed all the same (RFC 3676 §4.3)."""


def unflow(text: str, *, delete_space: bool) -> str:
    """Join flowed lines (§4.1), take stuffed spaces out (§4.4), keep the depth of quotation (§4.5).

    Args:
        text: A decoded `text/plain; format=flowed`.
        delete_space: Its parameter `DelSp` is `yes`: the space that marks a flowed line is no part of the text.
    """
    paragraphs: list[tuple[int, list[str]]] = []
    goes_on = False
    for line in text.replace("\r\n", "\n").split("\n"):
        unquoted = line.lstrip(">")
        depth = len(line) - len(unquoted)
        words = unquoted.removeprefix(" ")
        if not (goes_on and paragraphs[-1][0] == depth and words != _SIGNATURE):
            paragraphs.append((depth, []))
        goes_on = words.endswith(" ") and words != _SIGNATURE
        paragraphs[-1][1].append(words[:-1] if goes_on and delete_space else words)
    return "\n".join(f"{'>' * depth}{' ' if depth else ''}{''.join(words)}" for depth, words in paragraphs)
