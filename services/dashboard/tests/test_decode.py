import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_common.contracts.v1 import ServiceEvent
from airut_dashboard.decode import decode_event


def test_each_kind_is_found_by_its_subject(state, said, request_event) -> None:
    assert decode_event("airut.v1.event.task.demo.t1", state().encode()) == state()
    assert decode_event("airut.v1.event.task.demo.t1", said().encode()) == said()
    assert decode_event("airut.v1.event.egress.demo.s1", request_event().encode()) == request_event()
    service = ServiceEvent(service="x", at=state().at, level="info", code="ready", text="")
    assert decode_event("airut.v1.event.service.x", service.encode()) == service


@pytest.mark.parametrize(
    "subject", ["", "airut.v1.event", "airut.v2.event.task.a.b", "airut.v1.event.moon.a"]
)
def test_a_foreign_subject_is_no_event(subject, state) -> None:
    assert decode_event(subject, state().encode()) is None


@given(st.binary(max_size=200), st.sampled_from(["task", "egress", "service"]))
def test_garbage_never_raises(data: bytes, kind: str) -> None:
    decode_event(f"airut.v1.event.{kind}.demo.x", data)
