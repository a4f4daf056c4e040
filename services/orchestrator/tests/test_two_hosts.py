"""Two orchestrators, each with its own folder and egress-proxy, on one PostgreSQL and one bus."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import psycopg
import pytest

from airut_common.contracts.v1 import ServiceEvent, StopAnswered, StopTask, subjects
from airut_sandbox.testing.containers import base_image, podman

from .site import Site, broken, open_site
from .test_deaths import PATIENT

__all__ = ["base_image", "podman"]  # fixtures

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture
async def sites(tmp_path, podman, base_image, postgres) -> AsyncIterator[tuple[Site, Site]]:
    async with open_site(tmp_path, podman, base_image, postgres.new_database()) as here:
        async with here.beside("there") as there:
            yield here, there


def hosts_of(*tasks: str, sites: Sequence[Site]) -> list[str]:
    """Where the network of each task was opened last; of `sites`, only later ones are lost to earlier ones."""
    opened = [(question.task, site.host) for site in reversed(sites) for question in site.egress.opened]
    return [[host for found, host in opened if found == task][-1] for task in tasks]


async def let_go(*sites: Site) -> None:
    for site in sites:
        for folder in (site.state / "conversations").glob("*/storage"):
            (folder / "go").touch()


async def test_work_spreads_and_a_conversation_stays_where_its_workspace_is(sites: tuple[Site, Site]) -> None:
    here, there = sites
    tasks = [await here.send(PATIENT) for _ in range(4)]
    for task in tasks:
        await here.until_said(task, "begun 1")
    assert len(await here.containers()) == len(await there.containers()) == 2
    assert sorted(hosts_of(*tasks, sites=sites)) == ["local", "local", "there", "there"]
    await let_go(here, there)
    replies = [await here.reply_to(task) for task in tasks]
    later = [
        await here.send("result(system('wc -l < /storage/log'))", conversation=reply.conversation)
        for reply in replies
    ]
    assert [(await here.reply_to(task)).text for task in later] == ["1"] * 4
    assert hosts_of(*later, sites=sites) == hosts_of(*tasks, sites=sites)


async def test_a_stop_reaches_the_host_that_works(sites: tuple[Site, Site]) -> None:
    here, there = sites
    tasks = [await here.send(PATIENT) for _ in range(4)]
    for task in tasks:
        await here.until_said(task, "begun 1")
    hosts = hosts_of(*tasks, sites=sites)
    for host in ("local", "there"):
        asked, wished = (task for task, found in zip(tasks, hosts, strict=True) if found == host)
        question = StopTask(task=asked, by="the operator")
        subject = subjects.orchestrator_service(subjects.ANY_HOST, "stop")
        answer = await here.bus.request(subject, question, StopAnswered, timeout_seconds=10)
        assert answer.stopped
        assert (await here.reply_to(asked)).outcome == "stopped"
        conversation = (await here.until(wished, "queued")).conversation
        wish = await here.send("", text="Stop.", conversation=conversation)
        assert (await here.reply_to(wished)).outcome == "stopped"
        assert "Stopped" in (await here.reply_to(wish)).text
    assert await here.containers() == await there.containers() == []


async def test_what_a_lost_host_had_is_tried_again_by_the_other(sites: tuple[Site, Site], podman) -> None:
    here, there = sites
    tasks = [await here.send(PATIENT) for _ in range(4)]
    for task in tasks:
        await here.until_said(task, "begun 1")
    (lost, *_) = (
        task for task, host in zip(tasks, hosts_of(*tasks, sites=sites), strict=True) if host == "there"
    )
    conversation = (await here.until(lost, "queued")).conversation
    waits = await here.send("result('after')", conversation=conversation)
    await here.until(waits, "queued")
    await there.end(signal.SIGKILL)
    # Its containers go with it, as they would with the machine.
    await podman.run("rm", "--force", "--time=0", *await there.containers())
    with psycopg.connect(here.database.render_as_string()) as connection:
        connection.execute("UPDATE hosts SET seen_at = seen_at - interval '1 hour' WHERE name = 'there'")
    told = await until_told(here, "host_lost")
    assert "the host there" in told.text
    assert "2 tasks are tried again elsewhere, 2 conversations begin anew" in told.text
    for task in tasks:
        while not [reply for reply in here.replies if reply.id == task]:
            await let_go(here)
            await asyncio.sleep(0.1)
    reply = await here.reply_to(lost)
    assert reply.outcome == "done"
    assert "fresh clone" in reply.notes[0]
    assert "again" in reply.text, "the agent was told that it was interrupted"
    assert (await here.reply_to(waits)).text == "after"
    assert sorted(item.id for item in here.replies) == sorted([*tasks, waits]), "one reply each"
    assert hosts_of(*tasks, waits, sites=sites) == ["local"] * 5


async def test_an_agent_remembers_what_it_did_on_a_host_that_is_lost(
    sites: tuple[Site, Site], podman
) -> None:
    here, there = sites
    asked = [await here.send("result('done')  # the word is plum") for _ in range(4)]
    replies = {task: await here.reply_to(task) for task in asked}
    away = [
        reply.conversation
        for (task, reply), host in zip(replies.items(), hosts_of(*asked, sites=sites), strict=True)
        if host == "there"
    ]
    await there.end(signal.SIGKILL)
    with psycopg.connect(here.database.render_as_string()) as connection:
        connection.execute("UPDATE hosts SET seen_at = seen_at - interval '1 hour' WHERE name = 'there'")
        # Of another one nothing was kept: its agent begins anew, and is told what was said.
        connection.execute("DELETE FROM agent_sessions WHERE conversation = ANY(%s)", (away[1:],))
    await until_told(here, "host_lost")
    again = "result(f\"{'plum' in earlier} {'plum' in PROMPT.partition('---')[0]} {system('ls /storage')}\")"
    with broken(here, {".airut/network-allowlist.yaml": None}):
        refused = await here.ask(again, conversation=away[0])
    assert (refused.outcome, refused.notes) == ("refused", ()), (
        "no agent had begun, so the loss is still to be told"
    )
    known, *unknown = [await here.ask(again, conversation=conversation) for conversation in away]
    assert known.text.split() == ["True", "False"]
    assert "The agent remembers the conversation" in known.notes[0]
    assert {reply.text.split()[0] for reply in unknown} <= {"False"}
    assert all("began anew on a fresh clone" in reply.notes[0] for reply in unknown)
    last = await here.ask("result(str(earlier.count('plum')))", conversation=away[0])
    assert (last.text, last.notes) == ("5", ())


async def until_told(site: Site, code: str) -> ServiceEvent:
    async with (
        asyncio.timeout(60),
        aclosing(site.bus.replay([subjects.service_event("orchestrator")])) as stored,
    ):
        async for each in stored:
            event = ServiceEvent.decode(each.data)
            if event.code == code:
                return event
    raise AssertionError
