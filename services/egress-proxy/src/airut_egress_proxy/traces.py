"""A span for each request that has ended, sent to an OpenTelemetry collector. A task's requests are one trace."""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from airut_common.contracts.v1 import EgressEvent

MAX_WAITING: Final = 4096
"""Spans that were made and not yet taken; more are dropped."""
_BATCH: Final = 256
_DELAY_MS: Final = 1000
_EXPORT_SECONDS: Final = 5
_STOP_SECONDS: Final = 2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Semantic conventions for HTTP: any other method is `_OTHER`, because the sandbox can make up as many as it likes.
_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)

log = structlog.get_logger()


class Traces:
    """An event sink that makes spans. Belongs to one event loop; a thread of its own sends what was made."""

    def __init__(self, endpoint: str, *, service: str) -> None:
        """Args:
        endpoint: URL that takes OTLP over HTTP, with its path.
        service: `service.name` of every span.
        """
        # What it says of each failure is said once, below.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = _Counting(OTLPSpanExporter(endpoint, timeout=_EXPORT_SECONDS))
        # Larger than what is let in, so that it never drops anything that nobody counts.
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=2 * MAX_WAITING,
            schedule_delay_millis=_DELAY_MS,
            max_export_batch_size=_BATCH,
        )
        provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: service}), sampler=ALWAYS_ON, shutdown_on_exit=False
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("airut_egress_proxy")
        self._made = 0
        self._refused = 0

    def count_dropped(self) -> int:
        """Spans that no collector has taken and none will."""
        return self._refused + self._exporter.failed

    def record(self, event: EgressEvent) -> None:
        """Make the span of a request that has ended."""
        if event.kind != "request" or event.is_start:
            return
        if self._made - self._exporter.taken - self._exporter.failed >= MAX_WAITING:
            self._refused += 1
            return
        self._made += 1
        end = _nanoseconds(event.at)
        span = self._tracer.start_span(
            event.method if event.method in _METHODS else "HTTP",
            context=_trace_of(event.task),
            kind=SpanKind.CLIENT,
            attributes=_attributes(event),
            start_time=end - round((event.duration_ms or 0) * 1_000_000),
        )
        if error := _error(event):
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=end)

    async def close(self) -> None:
        """Send what is left, if the collector takes it within a moment."""
        last = threading.Thread(target=self._processor.shutdown, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _STOP_SECONDS)
        self._exporter.shutdown()


class _Counting(SpanExporter):
    """Counts what became of spans, and says once when the collector goes away and when it is back."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._reached = True
        self.taken = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            reached = result is SpanExportResult.SUCCESS
            if reached:
                self.taken += len(spans)
            else:
                self.failed += len(spans)
            if reached != self._reached:
                self._reached = reached
                log.warning("traces_taken" if reached else "traces_not_taken", lost=self.failed)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


def _attributes(event: EgressEvent) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "http.request.method": event.method if event.method in _METHODS else "_OTHER",
        "url.scheme": event.scheme,
        "url.path": event.path,
        "server.address": event.host,
        "http.request.body.size": event.bytes_out,
        "http.response.body.size": event.bytes_in,
        "airut.repo": event.repo,
        "airut.task": event.task,
        "airut.sandbox": event.sandbox,
        "airut.decision": event.decision,
        "airut.reason": event.reason,
    }
    if event.method not in _METHODS:
        found["http.request.method_original"] = event.method
    if event.port is not None:
        found["server.port"] = event.port
    if event.status is not None:
        found["http.response.status_code"] = event.status
    return found


def _error(event: EgressEvent) -> str:
    """What a client calls failed: a refusal, an interruption, a status of 400 or more."""
    if event.decision != "allow":
        return event.reason.partition(":")[0] or event.decision
    return str(event.status) if event.status is not None and event.status >= 400 else ""


def _trace_of(task: str) -> Context:
    """The trace and the parent of all spans of a task; the parent is the task itself, for which nobody makes a span."""
    digest = hashlib.sha256(task.encode()).digest()
    parent = SpanContext(
        trace_id=int.from_bytes(digest[:16]) or 1,
        span_id=int.from_bytes(digest[16:24]) or 1,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
