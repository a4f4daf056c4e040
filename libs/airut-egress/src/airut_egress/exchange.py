"""One request of a sandbox, from its headers to its one event."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from airut_common.contracts.v1 import EgressTag

from .carry import BodyGate
from .inspection import Inspection
from .scrub import AnswerScrubber
from .session import Decided, Session
from .signing import SignatureFilter
from .swap import Refused


@dataclass(slots=True, eq=False)
class Exchange:
    """What is known of a request while it is under way. Nothing goes out unless `allowed` is set."""

    session: Session
    method: str
    scheme: str
    host: str
    port: int
    path: str
    """Without its query; hostile text."""
    cut: Callable[[str], None] = field(repr=False)
    """Ends the connection at once; takes the reason."""
    allowed: bool = False
    """Set last of all, when every check has passed and the request is as it goes out."""
    rule: str = ""
    obstacle: str = ""
    websocket: bool = False
    credentials: tuple[str, ...] = ()
    stripped: tuple[str, ...] = ()
    """Lower-case names of headers, and `?key` of query keys, that were taken out of the request."""
    inspection: Inspection | None = None
    """What the body has to pass before `allowed` is set."""
    gate: BodyGate | None = None
    """What the body has to go through as it streams."""
    signature: SignatureFilter | None = None
    """Signs the request when its body is complete."""
    scrubber: AnswerScrubber | None = None
    """Works on the answer, where real credentials may go to the host."""
    status: int | None = None
    bytes_out: int = 0
    bytes_in: int = 0
    _started: float = field(default_factory=time.monotonic)
    _finished: bool = False
    _collected: int = 0

    def send(self, data: bytes) -> bytes | list[bytes]:
        """Let a part of the request's body pass; with nothing, its end. What exceeds a limit or is not what was signed
        cuts the connection: the upstream must not take what it has for the whole."""
        if self.gate is not None:
            gate, self.gate = self.gate, self.gate if data else None
            try:
                data = gate(data)
            except Refused as refusal:
                return self._stop("credential", str(refusal))
        if not data:
            return []
        self.bytes_out += len(data)
        if not self.session.may_send(self.host, len(data)):
            return self._stop("budget", "it has sent as much as it may")
        self.session.count_sent(self.host, len(data))
        return data

    def _stop(self, obstacle: str, reason: str) -> list[bytes]:
        self.obstacle, self.status = obstacle, None
        self.finish("deny", obstacle)
        self.cut(reason)
        return []

    def count_in(self, data: bytes) -> bytes | list[bytes]:
        """Let a part of the response's body pass; with nothing, its end.

        Raises:
            Undecodable: the answer must end here, because nobody can say what is in it.
        """
        self.bytes_in += len(data)
        return data if self.scrubber is None else self.scrubber(data)

    def collect(self, size: int) -> None:
        """Take in a part of a body that is inspected.

        Raises:
            Denied: it is too much.
        """
        if self.inspection is None:
            raise RuntimeError("a body that nobody inspects must not be collected")
        self.inspection.take(size, of_session=self.session.collected)
        self.session.collected += size
        self._collected += size

    def finish(self, decision: Decided, reason: str) -> None:
        """Record the event; later calls change nothing."""
        if self._finished:
            return
        self._finished = True
        self.session.collected -= self._collected
        self.session.record(
            "request",
            decision,
            reason,
            method=self.method,
            scheme=self.scheme,
            host=self.host,
            port=self.port,
            path=self.path,
            status=self.status,
            credentials=self.credentials,
            stripped=self.stripped,
            tags=self._tags(),
            bytes_out=self.bytes_out,
            bytes_in=self.bytes_in,
            duration_ms=round((time.monotonic() - self._started) * 1000, 2),
        )

    def _tags(self) -> tuple[EgressTag, ...]:
        return ("scrubbed",) if self.scrubber is not None and self.scrubber.found else ()
