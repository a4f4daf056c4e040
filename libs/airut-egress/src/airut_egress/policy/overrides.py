"""Headers by which a server is told to take another method or path than the ones that were judged.

Field notes 14: frameworks honour `X-HTTP-Method-Override` on POST, and some servers `X-Original-URL`, so a rule
that decided by method or path would decide nothing while they go out.
"""

from collections.abc import Sequence
from typing import Final

from airut_egress.carriers import normal_name

from .decide import Decision

_METHOD: Final = frozenset({"x-http-method-override", "x-http-method", "x-method-override", "x-method"})
_PATH: Final = frozenset(
    {"x-original-url", "x-rewrite-url", "x-override-url", "x-original-uri", "x-request-uri"}
)


def strip_overrides(
    headers: Sequence[tuple[bytes, bytes]], decision: Decision
) -> tuple[list[tuple[bytes, bytes]], tuple[str, ...]]:
    """The headers of an allowed request without those that would undo the decision, and the names removed."""
    unwanted = (_METHOD if decision.by_method else frozenset()) | (_PATH if decision.by_path else frozenset())
    kept: list[tuple[bytes, bytes]] = []
    removed: list[str] = []
    for name, value in headers:
        key = normal_name(name)
        if key in unwanted:
            removed.append(key)
        else:
            kept.append((name, value))
    return kept, tuple(removed)
