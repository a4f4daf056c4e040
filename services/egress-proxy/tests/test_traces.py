"""Spans, as a collector that speaks OTLP over HTTP takes them."""

import asyncio
import socket
from datetime import timedelta
from typing import Any

import pytest

from airut_common.contracts.v1 import EgressEvent, utc_now
from airut_egress_proxy.traces import MAX_WAITING, Traces

from .collector import attributes, collecting


def event(**fields: Any) -> EgressEvent:
    values = {"kind": "request", "repo": "demo", "sandbox": "s1", "task": "t1", "at": utc_now(), "seq": 0}
    values |= {
        "decision": "allow",
        "reason": "domains[0] a.test",
        "method": "GET",
        "scheme": "https",
        "port": 443,
    }
    return EgressEvent(
        **values | {"host": "a.test", "path": "/x", "status": 200, "duration_ms": 1500.0} | fields
    )


async def test_a_request_is_a_span_with_its_times_and_attributes() -> None:
    async with collecting() as (collector, endpoint):
        traces = Traces(endpoint, service="airut-egress-proxy")
        told = event(bytes_out=5, bytes_in=6)
        traces.record(told)
        await collector.wait(1)
        await traces.close()
    assert b"content-type: application/x-protobuf" in collector.heads[0].lower()
    assert collector.heads[0].startswith(b"POST /v1/traces ")
    resource = attributes(collector.requests[0].resource_spans[0].resource.attributes)
    assert resource["service.name"] == "airut-egress-proxy"
    (span,) = collector.spans
    end = round(told.at.timestamp() * 1e6) * 1000
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (end - 1_500_000_000, end)
    assert (span.name, span.kind, span.status.code) == (
        "GET",
        span.SPAN_KIND_CLIENT,
        span.status.STATUS_CODE_UNSET,
    )
    assert attributes(span.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "https",
        "url.path": "/x",
        "server.address": "a.test",
        "server.port": 443,
        "http.response.status_code": 200,
        "http.request.body.size": 5,
        "http.response.body.size": 6,
        "airut.repo": "demo",
        "airut.task": "t1",
        "airut.sandbox": "s1",
        "airut.decision": "allow",
        "airut.reason": "domains[0] a.test",
    }
    assert traces.count_dropped() == 0


async def test_a_task_is_a_trace_and_only_ends_of_requests_are_spans() -> None:
    async with collecting() as (collector, endpoint):
        traces = Traces(endpoint, service="x")
        traces.record(event(decision="info", reason="started", status=None))
        traces.record(event(kind="dns"))
        traces.record(event(kind="session", decision="info", reason="opened"))
        for task in ("t1", "t2", "t1"):
            traces.record(event(task=task))
        await collector.wait(3)
        await traces.close()
    first, other, again = collector.spans
    assert first.trace_id == again.trace_id != other.trace_id
    assert first.parent_span_id == again.parent_span_id != b""
    assert len({span.span_id for span in collector.spans}) == 3
    assert len(first.trace_id) == 16


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"decision": "deny", "reason": "host", "status": 403}, "host"),
        ({"decision": "error", "reason": "upstream-tls: what it said", "status": 502}, "upstream-tls"),
        ({"decision": "error", "reason": "interrupted", "status": None}, "interrupted"),
        ({"status": 500}, "500"),
    ],
)
async def test_what_failed_says_why(fields: dict[str, Any], error: str) -> None:
    async with collecting() as (collector, endpoint):
        traces = Traces(endpoint, service="x")
        traces.record(event(**fields))
        await traces.close()
    (span,) = collector.spans
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert attributes(span.attributes)["error.type"] == error


async def test_a_method_that_is_made_up_names_no_span() -> None:
    async with collecting() as (collector, endpoint):
        traces = Traces(endpoint, service="x")
        traces.record(event(method="FROB"))
        await traces.close()
    (span,) = collector.spans
    found = attributes(span.attributes)
    assert span.name == "HTTP"
    assert (found["http.request.method"], found["http.request.method_original"]) == ("_OTHER", "FROB")


async def test_an_absent_collector_costs_a_counted_drop() -> None:
    """Nothing waits: neither the one who records, nor the end."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    traces = Traces(f"http://127.0.0.1:{port}/v1/traces", service="x")
    many = MAX_WAITING + 100
    for number in range(many):
        traces.record(event(seq=number, at=utc_now() + timedelta(seconds=number)))
    assert traces.count_dropped() >= 100
    async with asyncio.timeout(15):
        await traces.close()


async def test_a_silent_collector_bounds_what_waits() -> None:
    """It takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        traces = Traces(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces", service="x")
        for _ in range(MAX_WAITING + 10):
            traces.record(event())
        assert traces.count_dropped() == 10
        async with asyncio.timeout(15):
            await traces.close()


async def test_a_collector_that_refuses_is_counted_and_one_that_is_back_takes_again() -> None:
    async with collecting() as (collector, endpoint):
        collector.status = b"400 Bad Request"
        traces = Traces(endpoint, service="x")
        traces.record(event())
        async with asyncio.timeout(20):
            while not collector.heads:
                collector._changed.clear()
                await collector._changed.wait()
        collector.status = b"200 OK"
        traces.record(event(path="/later"))
        await collector.wait(1)
        await traces.close()
    assert [attributes(span.attributes)["url.path"] for span in collector.spans] == ["/later"]
    assert traces.count_dropped() == 1
