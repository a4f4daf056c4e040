"""Request targets: the path that rules are matched on, and whether two servers could read it differently.

A path rule decides on the percent-decoded path. Some raw paths mean different things to different servers
(`/a/../b`, `/a%2fb`, `/a//b`): those are named ambiguous, and a path rule does not match them (field notes
13, 58). The bytes themselves are never changed: what was matched is what is forwarded.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

_ENCODED_SEPARATOR: Final = re.compile(rb"%(?:2[ef]|5c)", re.IGNORECASE)
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_MAX_DECODINGS: Final = 8


@dataclass(frozen=True, slots=True)
class DecodedPath:
    """A path as rules see it."""

    text: str
    """Percent-decoded, without the query; undecodable bytes are replaced (then `ambiguous` is set)."""
    ambiguous: str | None
    """Why servers could disagree about it; None when they cannot."""


def split_target(raw: bytes) -> tuple[bytes, bytes | None]:
    """An origin-form request target as raw path and raw query; None when there is no `?`."""
    path, mark, query = raw.partition(b"?")
    return path, query if mark else None


def decode_path(raw: bytes) -> DecodedPath:
    """Decode the path of a raw request target; a query in it is ignored. Never raises."""
    path, _ = split_target(raw)
    decoded = unquote_to_bytes(path)
    try:
        text, problem = decoded.decode("utf-8"), None
    except UnicodeDecodeError:
        text, problem = decoded.decode("utf-8", "replace"), "it is not UTF-8"
    return DecodedPath(text, problem or _ambiguity(path, decoded))


def without_parameters(path: str) -> str:
    """A decoded path with `;…` cut from each segment, as servers with path parameters read it."""
    if ";" not in path:
        return path
    return "/".join(segment.partition(";")[0] for segment in path.split("/"))


def _ambiguity(raw: bytes, decoded: bytes) -> str | None:
    if not raw.startswith(b"/"):
        return "it does not begin with a slash"
    if b"\\" in raw:
        return "it has a backslash"
    if b"#" in raw:
        return "it has a fragment mark"
    if b"%" in raw:
        if _BAD_ESCAPE.search(raw):
            return "it has a broken percent escape"
        if _ENCODED_SEPARATOR.search(raw):
            return "it has an encoded slash, dot or backslash"
        if _ESCAPE.search(decoded):
            return "it is encoded twice"
    if _CONTROL.search(decoded) or b" " in raw:
        return "it has a control character"
    return _ambiguous_segments(decoded.split(b"/")[1:])


def _ambiguous_segments(segments: list[bytes]) -> str | None:
    last = len(segments) - 1
    for index, segment in enumerate(segments):
        name = segment.partition(b";")[0]
        if name in {b".", b".."}:
            return "it has a dot segment"
        # A trailing slash is an empty last segment and means one thing; an empty one elsewhere does not.
        if not name and (index < last or segment):
            return "it has an empty segment"
    return None


def lenient_segments(raw_path: bytes) -> list[str]:
    """The segments of a raw target's path, as the most forgiving server would read it: lower case, decoded as often as
    it can be, without dots, parameters and what is empty. For rules that apply in doubt; never for what allows."""
    path = raw_path.partition(b"?")[0]
    for _ in range(_MAX_DECODINGS):
        if b"%" not in path:
            break
        path = unquote_to_bytes(path)
    decoded = "".join(char for char in path.decode("latin-1").lower() if char > " ").replace("\\", "/")
    segments: list[str] = []
    for segment in decoded.split("/"):
        name = segment.partition(";")[0]
        if name == "..":
            del segments[-1:]
        elif name not in {"", "."}:
            segments.append(name)
    return segments
