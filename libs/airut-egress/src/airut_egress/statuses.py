"""Which status tells which obstacle."""

from typing import Final

#: Obstacles that say something about the upstream and not about the rules (RFC 9110 §15.6.3).
_BAD_GATEWAY: Final = frozenset({"upstream-unknown", "upstream-unreachable", "upstream-tls", "token"})
_MISDIRECTED: Final = frozenset({"mismatch"})
_TOO_LARGE: Final = frozenset({"too-large", "budget"})


def status_for(obstacle: str) -> int:
    """403; 421 when names disagree (RFC 9110 §15.5.20), 502 when the upstream is at fault, 413, 429 or 503 when it
    is too much."""
    if obstacle in _BAD_GATEWAY:
        return 502
    if obstacle in _TOO_LARGE:
        return 413
    if obstacle == "connections":
        return 503
    if obstacle == "rate":
        return 429
    return 421 if obstacle in _MISDIRECTED else 403
