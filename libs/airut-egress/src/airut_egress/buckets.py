"""A token bucket: so much at once, and then so much each second. Pure; the caller brings the time."""

import math
from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """Full at the beginning."""

    per_second: float
    burst: float
    tokens: float = 0.0
    """Below zero when more was taken than there was."""
    filled_at: float | None = None

    def wait_for(self, amount: float, now: float) -> float:
        """Seconds until so much is there; 0 when it is there now. `now`: of a clock that only goes forward."""
        if self.filled_at is None:
            self.tokens = self.burst
        else:
            self.tokens = min(self.burst, self.tokens + (now - self.filled_at) * self.per_second)
        self.filled_at = now
        missing = amount - self.tokens
        if missing <= 0:
            return 0.0
        return missing / self.per_second if self.per_second else math.inf

    def take(self, amount: float) -> None:
        """Take it, whether it is there or not: what is missing has to be filled up first."""
        self.tokens -= amount
