"""From inside a real sandbox: every way out is refused, and seen (acceptance 3; rows 1-8, 11, 17-19 of the field notes)."""

import json

import pytest
import pytest_asyncio

from airut_demo.world.world import EXFIL_NAME, GIT_NAME, MODEL_NAME

from .conftest import ALL, Site, bash

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

SUBJECT = "Try every way out"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def probed(site: Site):
    """What the probe said, and the network log of its task."""
    nats = (site.installation.folder / "state" / "nats" / "port").read_text().strip()
    site.world.git.redirects["demo.git/leave"] = f"https://{EXFIL_NAME}/?from=redirect"
    answer = await site.ask(bash(f"python3 probe.py {nats} > /outbox/probe.json"), ALL, subject=SUBJECT)
    (report,) = answer.iter_attachments()
    results = json.loads(report.get_payload(decode=True))
    task = await site.task_of(SUBJECT)
    return results, await site.api(f"/tasks/{task['id']}/network")


REFUSED = [
    "ipv4_literal", "ipv4_literal_http", "ipv4_hex", "ipv6_literal", "metadata", "udp_other", "quic", "tcp_dns_public",
    "raw_tcp_allowed_name", "raw_bytes_on_443", "connect", "connect_in_tls", "host_sni_mismatch", "sni_mismatch",
    "absolute_form", "foreign_host_plain", "denied_host", "denied_path", "redirect", "host_loopback",
]  # fmt: skip
SEEN = [
    ("ipv4_literal", "1.1.1.1"),
    ("ipv6_literal", "2606:4700:4700::1111"),
    ("metadata", "169.254.169.254"),
    ("raw_tcp_allowed_name", MODEL_NAME),
    ("connect", EXFIL_NAME),
    ("host_sni_mismatch", EXFIL_NAME),
    ("denied_host", EXFIL_NAME),
    ("denied_path", GIT_NAME),
]


def is_refusal(result: str) -> bool:
    words = (
        "refused",
        "403",
        "421",
        "400",
        "405",
        "Empty reply",
        "reset",
        "denied",
        "501",
        "unrecognized name",
    )
    return any(word in result for word in words)


@pytest.mark.parametrize("name", REFUSED)
async def test_the_way_out_is_refused(probed, name: str) -> None:
    results, _ = probed
    assert is_refusal(results[name]), results[name]


async def test_what_is_allowed_works(probed) -> None:
    assert probed[0]["allowed"].endswith("200")


async def test_row_4_a_question_to_a_public_resolver_is_answered_by_us_alone(probed) -> None:
    assert "answered" in probed[0]["udp_dns_public"]


async def test_there_is_no_interface_but_loopback(probed) -> None:
    assert probed[0]["interfaces"] == ["lo"]


@pytest.mark.parametrize(("name", "host"), SEEN)
async def test_the_attempt_is_an_event_with_the_name_that_was_asked_for(probed, name: str, host: str) -> None:
    del name
    denied = {event["host"] for event in probed[1] if event["decision"] == "deny"}
    assert host in denied


async def test_nothing_reached_the_denied_host(probed) -> None:
    assert not [
        event
        for event in probed[1]
        if event["host"] == EXFIL_NAME and event["decision"] == "allow" and event["kind"] == "request"
    ]
