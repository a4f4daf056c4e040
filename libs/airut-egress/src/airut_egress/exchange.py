"""One request of a sandbox, from its headers to its events: one at its end, and one at its start if it lasts."""

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
    tools_cut: bool = False
    """Whether tools that run on the API's side went out with less than was asked (field notes 78)."""
    scrubber: AnswerScrubber | None = None
    """Works on the answer, where real credentials may go to the host."""
    status: int | None = None
    bytes_out: int = 0
    bytes_in: int = 0
    started: float = field(default_factory=time.monotonic)
    """By the monotonic clock."""
    _number: int = -1
    _finished: bool = False
    _collected: int = 0

    def __post_init__(self) -> None:
        self._number = self.session.starts.begin(self)

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
        """Record the event of its end; later calls change nothing."""
        if self._finished:
            return
        self._finished = True
        self.session.collected -= self._collected
        self.session.starts.end(self._number)
        self._record(
            decision,
            reason,
            status=self.status,
            tags=self._tags(),
            bytes_out=self.bytes_out,
            bytes_in=self.bytes_in,
        )

    def tell_start(self) -> None:
        """Record that it is under way. What it has moved so far belongs to its end."""
        self._record("info", "started")

    def abandon(self) -> None:
        """Cut it: nothing goes on without its event."""
        self.cut("its start could not be recorded")

    def _record(
        self,
        decision: Decided,
        reason: str,
        *,
        status: int | None = None,
        tags: tuple[EgressTag, ...] = (),
        bytes_out: int = 0,
        bytes_in: int = 0,
    ) -> None:
        self.session.record(
            "request",
            decision,
            reason,
            request=self._number,
            method=self.method,
            scheme=self.scheme,
            host=self.host,
            port=self.port,
            path=self.path,
            status=status,
            credentials=self.credentials,
            stripped=self.stripped,
            tags=tags,
            bytes_out=bytes_out,
            bytes_in=bytes_in,
            duration_ms=round((time.monotonic() - self.started) * 1000, 2),
        )

    def _tags(self) -> tuple[EgressTag, ...]:
        tags: dict[EgressTag, bool] = {
            "scrubbed": self.scrubber is not None and self.scrubber.found,
            "tools-cut": self.tools_cut,
        }
        return tuple(tag for tag, holds in tags.items() if holds)
