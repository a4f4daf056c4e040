"""What a sandbox may reach: strict reading of the allowlist file, and the pure decision."""

from .decide import Decision, Obstacle, RequestFacts, decide
from .model import Policy, parse_policy
from .overrides import strip_overrides
from .patterns import BadPattern, HostPattern, PathPattern

__all__ = [
    "BadPattern",
    "Decision",
    "HostPattern",
    "Obstacle",
    "PathPattern",
    "Policy",
    "RequestFacts",
    "decide",
    "parse_policy",
    "strip_overrides",
]
