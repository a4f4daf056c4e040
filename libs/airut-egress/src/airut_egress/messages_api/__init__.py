"""Anthropic's Messages API: what its servers would do for the agent that the allowlist does not let it do itself."""

from .server_tools import Refused, applies_to, starts_agents, trim

__all__ = ["Refused", "applies_to", "starts_agents", "trim"]
