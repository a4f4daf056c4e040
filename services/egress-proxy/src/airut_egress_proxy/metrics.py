"""Numbers for Prometheus, made of the events that pass by. No label is a host or a path: a sandbox could make up
as many as it likes, and each would stay in memory here and in the database of whoever asks."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from airut_common.contracts.v1 import EgressEvent
from airut_egress.denial import MESSAGES
from airut_egress.dns import Outcome

_OBSTACLES: Final = frozenset(MESSAGES) | {"coding", "internal", "interrupted", "tls"}
_DNS_OUTCOMES: Final = frozenset(get_args(Outcome)) | {"rate"}
_OTHER: Final = "other"
_SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


class Metrics:
    """An event sink that counts. Belongs to one event loop; the registry may be read from any thread."""

    def __init__(
        self,
        *,
        events_dropped: Callable[[], int],
        spans_dropped: Callable[[], int],
        spooled_bytes: Callable[[], int],
    ) -> None:
        """Args:
        events_dropped: events that were lost since the start.
        spans_dropped: spans that no collector took.
        spooled_bytes: what waits on disk for the bus.
        """
        # When each series began is of no use here, and would double their number. It holds for the whole process.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self.registry = CollectorRegistry()
        self._requests = Counter(
            "airut_egress_requests",
            "Requests that have ended. obstacle: why it was refused or failed; status: 2xx and so on.",
            ("repo", "decision", "obstacle", "status"),
            registry=registry,
        )
        self._connections = Counter(
            "airut_egress_connections_denied",
            "Connections that never became a request.",
            ("repo", "obstacle"),
            registry=registry,
        )
        self._questions = Counter(
            "airut_egress_dns_questions", "DNS questions.", ("repo", "outcome"), registry=registry
        )
        self._bytes = Counter(
            "airut_egress_bytes",
            "Bytes of bodies of requests that have ended: out of the sandbox, in to it.",
            ("repo", "direction"),
            registry=registry,
        )
        self._swapped = Counter(
            "airut_egress_credentials_swapped",
            "Real credentials put in place of their surrogates.",
            ("repo",),
            registry=registry,
        )
        self._durations = Histogram(
            "airut_egress_request_duration_seconds",
            "From the head of a request to its end.",
            ("repo",),
            registry=registry,
            buckets=_SECONDS,
        )
        self._open: dict[str, set[str]] = defaultdict(set)
        """Repository to sandboxes."""
        registry.register(_State(self._open, events_dropped, spans_dropped, spooled_bytes))

    def record(self, event: EgressEvent) -> None:
        """Count an event."""
        match event.kind:
            case "request" if not event.is_start:
                self._request(event)
            case "connection" if event.decision != "info":
                self._connections.labels(event.repo, _obstacle(event)).inc()
            case "dns":
                outcome = event.reason if event.reason in _DNS_OUTCOMES else _OTHER
                self._questions.labels(event.repo, outcome).inc()
            case "session":
                self._session(event)
            case _:
                pass

    def _request(self, event: EgressEvent) -> None:
        repo = event.repo
        self._requests.labels(repo, event.decision, _obstacle(event), _status(event.status)).inc()
        self._bytes.labels(repo, "out").inc(event.bytes_out)
        self._bytes.labels(repo, "in").inc(event.bytes_in)
        if event.credentials:
            self._swapped.labels(repo).inc(len(event.credentials))
        if event.duration_ms is not None:
            self._durations.labels(repo).observe(event.duration_ms / 1000)

    def _session(self, event: EgressEvent) -> None:
        # A session that is opened again, perhaps by a restarted process, is still one.
        if event.reason == "opened":
            self._open[event.repo].add(event.sandbox)
        elif event.reason == "closed":
            self._open[event.repo].discard(event.sandbox)


class _State(Collector):
    """What is, and what others count."""

    def __init__(
        self,
        sessions: Mapping[str, set[str]],
        events_dropped: Callable[[], int],
        spans_dropped: Callable[[], int],
        spooled_bytes: Callable[[], int],
    ) -> None:
        self._sessions = sessions
        self._events_dropped = events_dropped
        self._spans_dropped = spans_dropped
        self._spooled_bytes = spooled_bytes

    def collect(self) -> Iterator[Metric]:
        sessions = GaugeMetricFamily("airut_egress_sessions_open", "Open sessions.", labels=("repo",))
        for repo, sandboxes in list(self._sessions.items()):
            sessions.add_metric((repo,), len(sandboxes))
        yield sessions
        yield CounterMetricFamily(
            "airut_egress_events_dropped",
            "Events lost because neither bus nor spool took them.",
            value=self._events_dropped(),
        )
        yield CounterMetricFamily(
            "airut_egress_spans_dropped", "Spans that no collector took.", value=self._spans_dropped()
        )
        yield GaugeMetricFamily(
            "airut_egress_spool_bytes", "Events on disk that wait for the bus.", value=self._spooled_bytes()
        )


def _obstacle(event: EgressEvent) -> str:
    if event.decision == "allow":
        return ""
    # A detail may follow, which can come from the sandbox.
    name = event.reason.partition(":")[0]
    return name if name in _OBSTACLES else _OTHER


def _status(status: int | None) -> str:
    if status is None:
        return ""
    return f"{status // 100}xx" if 100 <= status <= 599 else _OTHER
