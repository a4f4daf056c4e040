"""How far a session is: what an engine in another process needs to go on with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Totals:
    """What went through a session."""

    requests: int = 0
    denied: int = 0
    """Requests and connections that were refused."""
    bytes_out: int = 0
    bytes_in: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What was counted so far."""

    events: int = 0
    """The number of the next event."""
    requests: int = 0
    """The number of the next request."""
    totals: Totals = field(default_factory=Totals)
    sent: Mapping[str, int] = field(default_factory=dict)
    """Bytes by host pattern, as `budget.Sent` has them."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A session that goes on, or begins with a token that is known already."""

    token: str = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)
    """The surrogates that the sandbox holds."""
    progress: Progress = field(default_factory=Progress)
    names: Sequence[str] = ()
    """That were given synthetic addresses, in this order: addresses that collide depend on it."""
