"""Who watches the events beside the bus: Prometheus and OpenTelemetry, each only where a setting asks for it."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from airut_common.config.models import EgressConfig
from airut_egress.events import EventSink

from .fan_out import FanOut
from .sink import BusSink
from .spool import Spool


@dataclass(frozen=True)
class Watched:
    """Where events go, and where the watchers listen."""

    sink: BusSink | FanOut
    addresses: dict[str, str] = field(default_factory=dict)
    """For the service's entry on the bus."""


async def watch_events(
    egress: EgressConfig,
    record: BusSink,
    spool: Spool,
    *,
    service: str,
    stack: AsyncExitStack,
    on_problem: Callable[[str], Awaitable[None]],
) -> Watched:
    """Put the watchers that are wanted beside the record; they end with the stack.

    A port that is taken is a problem to report and no reason to leave sandboxes without a network.
    """
    # What is not wanted is not imported: it is some megabytes, and code that could fail.
    watchers: list[EventSink] = []
    addresses: dict[str, str] = {}
    spans_dropped = _none
    if egress.traces_endpoint is not None:
        from .traces import Traces

        traces = Traces(egress.traces_endpoint, service=service)
        stack.push_async_callback(traces.close)
        watchers.append(traces)
        spans_dropped = traces.count_dropped
    if egress.metrics_listen is not None:
        from .metrics import Metrics
        from .metrics_server import serve_metrics

        metrics = Metrics(
            events_dropped=lambda: record.dropped,
            spans_dropped=spans_dropped,
            spooled_bytes=lambda: spool.waiting_bytes,
        )
        try:
            url = await stack.enter_async_context(serve_metrics(egress.metrics_listen, metrics.registry))
        except OSError as error:
            await on_problem(f"egress.metrics_listen: nothing listens on {egress.metrics_listen}: {error}")
        else:
            watchers.append(metrics)
            addresses["metrics"] = url
    return Watched(FanOut(record, watchers) if watchers else record, addresses)


def _none() -> int:
    return 0
