"""Which requests are for the Messages API, or for agents of Anthropic's, by host and target."""

from typing import Final
from urllib.parse import unquote_to_bytes

HOST: Final = "api.anthropic.com"
_PATH: Final = "/v1/messages"
#: Services in which agents of Anthropic's run, in environments with networks of their own.
_OTHER_AGENTS: Final = frozenset({"agents", "sessions", "environments", "deployments", "tunnels", "vaults"})
_MAX_DECODINGS: Final = 8


def applies_to(host: str, raw_path: bytes) -> bool:
    """Whether a request, by its canonical host and raw target, may be one of the Messages API. In doubt it is."""
    return host == HOST and f"/{'/'.join(_segments(raw_path))}".startswith(_PATH)


def starts_agents(host: str, raw_path: bytes) -> bool:
    """Whether a request, by its canonical host and raw target, may be for agents that run on Anthropic's side."""
    return host == HOST and not _OTHER_AGENTS.isdisjoint(_segments(raw_path)[:2])


def _segments(raw_path: bytes) -> list[str]:
    """The path as the most forgiving server would read it."""
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
