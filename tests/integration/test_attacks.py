"""From inside a real sandbox: every way out is refused, and seen (acceptance 3; rows 1-8, 11, 17-19 of the field notes)."""

import json
import os
from pathlib import Path

import pytest
import pytest_asyncio

from airut_demo.world.world import EXFIL_NAME, GIT_NAME, MODEL_NAME

from .attacks import ATTACKS, document
from .conftest import ALL, CHANGING, Site, bash

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

SUBJECT = "Try every way out"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def probed(site: Site):
    """What the probe said, and the network log of its task."""
    nats = (site.installation.folder / "state" / "nats" / "port").read_text().strip()
    ports = {
        "nats": int(nats),
        "smtp": int(site.installation.smtp.rpartition(":")[2]),
        "dashboard": int(site.installation.dashboard.rpartition(":")[2]),
        "attach": str(site.installation.folder / "state/services/egress-proxy/attach.sock"),
        "podman": "/run/podman/podman.sock",
        "docker": "/var/run/docker.sock",
    }
    site.world.git.redirects["demo.git/leave"] = f"https://{EXFIL_NAME}/?from=redirect"
    answer = await site.ask(
        bash(f"python3 probe.py '{json.dumps(ports)}' > /outbox/probe.json"), ALL, subject=SUBJECT
    )
    (report,) = answer.iter_attachments()
    results = json.loads(report.get_payload(decode=True))
    task = await site.task_of(SUBJECT)
    return results, await site.api(f"/tasks/{task['id']}/network")


CATALOGUE = {attack.name: attack for attacks in ATTACKS.values() for attack in attacks}
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


DOCUMENT = Path(__file__).parents[2] / "docs" / "attacks.md"


@pytest.mark.parametrize("name", CATALOGUE)
async def test_the_attack_ends_as_the_catalogue_says(probed, name: str) -> None:
    assert probed[0][name] == CATALOGUE[name].outcome


async def test_every_attempt_is_in_the_catalogue(probed) -> None:
    assert probed[0].keys() - {"allowed"} == CATALOGUE.keys()


async def test_the_document_is_the_catalogue() -> None:
    if "UPDATE_DOCS" in os.environ:
        DOCUMENT.write_text(document())
    assert DOCUMENT.read_text() == document(), "run this test once with UPDATE_DOCS=1"


async def test_what_is_allowed_works_before_and_after_all_that(probed) -> None:
    assert probed[0]["allowed"] == "200"


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


@pytest.mark.parametrize("version", ["http1", "http2"])
async def test_rows_21_and_23_trailers_do_not_arrive(site: Site, probed, version: str) -> None:
    assert probed[0][f"trailers_{version}"] in {"200", "h2 answered"}
    (seen,) = [seen for seen in site.origin.seen if seen.target == f"/trailers/{version}"]
    assert seen.body == b"body"
    assert seen.trailers == []
    assert b"agents-own" not in repr(seen).encode()


@pytest.mark.parametrize("name", CHANGING)
async def test_row_8_each_request_is_one_answer_of_dns(site: Site, probed, name: str) -> None:
    """What was tested is what was dialled: for a second look, the zone would have been asked a third time."""
    assert probed[0][f"rebind_{name}"]
    assert site.world.zones.asked[f"{name}.rebind.example", "A"] == 2
