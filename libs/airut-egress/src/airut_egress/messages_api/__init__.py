"""Anthropic's Messages API: what its servers would do for the agent that the allowlist does not let it do itself."""

from .server_tools import Refused, Trimmed, trim
from .targets import applies_to, starts_agents

__all__ = ["Refused", "Trimmed", "applies_to", "starts_agents", "trim"]
