"""Which requests are for the Messages API, or for agents of Anthropic's, by host and target."""

from typing import Final

from airut_egress.paths import lenient_segments

HOST: Final = "api.anthropic.com"
_PATH: Final = "/v1/messages"
#: Services in which agents of Anthropic's run, in environments with networks of their own.
_OTHER_AGENTS: Final = frozenset({"agents", "sessions", "environments", "deployments", "tunnels", "vaults"})


def applies_to(host: str, raw_path: bytes) -> bool:
    """Whether a request, by its canonical host and raw target, may be one of the Messages API. In doubt it is."""
    return host == HOST and f"/{'/'.join(lenient_segments(raw_path))}".startswith(_PATH)


def starts_agents(host: str, raw_path: bytes) -> bool:
    """Whether a request, by its canonical host and raw target, may be for agents that run on Anthropic's side."""
    return host == HOST and not _OTHER_AGENTS.isdisjoint(lenient_segments(raw_path)[:2])
