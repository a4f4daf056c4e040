"""The orchestrator, the bus and the egress-proxy die while a task runs: one reply, nothing lost."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest

from airut_common.contracts.v1 import subjects
from airut_common.testing.builders import task_request
from airut_sandbox.testing.containers import base_image, podman

from .site import Site, open_site

__all__ = ["base_image", "podman"]  # fixtures

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

#: Works until the test lets it end; says how often it was begun.
PATIENT = """
system('echo begun >> /storage/log')
say('begun ' + system('wc -l < /storage/log'))
while not os.path.exists('/storage/go'): sleep(0.05)
result(system('cat /storage/log | wc -l') + ' ' + ' '.join(ARGV) + ('again' if 'interrupted' in PROMPT else ''))
"""


@pytest.fixture
async def site(tmp_path, podman, base_image, place) -> AsyncIterator[Site]:
    database = None if place.get_backend_name() == "sqlite" else place.set(drivername="postgresql")
    async with open_site(tmp_path, podman, base_image, database) as found:
        yield found


async def let_go(site: Site) -> None:
    """The agent may end."""
    (folder,) = (site.state / "conversations").glob("*/storage")
    (folder / "go").touch()


async def one_reply_to(site: Site, task: str) -> str:
    """The text of the task's only reply: a second one would be on the bus before the answer to a later task."""
    reply = await site.reply_to(task)
    await site.ask("result('after')")
    assert [item.id for item in site.replies].count(task) == 1
    assert await site.containers() == []
    return reply.text


async def test_the_orchestrator_is_killed_while_the_agent_works(site: Site) -> None:
    task = await site.send(PATIENT)
    await site.until_said(task, "begun 1")
    (before,) = await site.containers()
    sandbox = site.egress.opened[-1].sandbox
    await site.end(signal.SIGKILL)
    await site.start()
    await site.until_said(task, "begun 2")
    assert await site.containers() != [before]
    await let_go(site)
    text = await one_reply_to(site, task)
    assert text.startswith("2 -p ")
    assert "--resume" in text
    assert text.endswith("again")
    assert sandbox in site.egress.closed, "the dead sandbox's session was closed"
    assert site.states(task).count("queued") == 2


async def test_the_orchestrator_is_killed_while_messages_wait_and_while_they_are_worked_on_together(
    site: Site,
) -> None:
    first = await site.send(PATIENT)
    await site.until_said(first, "begun 1")
    queued = await site.until(first, "queued")
    lead = await site.send("", conversation=queued.conversation, text="One.")
    await site.until(lead, "queued")
    last = await site.send(PATIENT, conversation=queued.conversation)
    await site.until(last, "queued")
    await site.end(signal.SIGKILL)
    await site.start()
    await site.until_said(first, "begun 2")
    assert set(site.states(lead)) == {"queued"}
    await let_go(site)
    await site.reply_to(first)
    (folder,) = (site.state / "conversations").glob("*/storage")
    (folder / "go").unlink()
    await site.until(last, "merged")
    await site.until_said(lead, "begun 3")
    late = await site.send("result(PROMPT)", conversation=queued.conversation)
    await site.until(late, "queued")
    await site.end(signal.SIGKILL)
    await site.start()
    await site.until_said(lead, "begun 4")
    await let_go(site)
    text = await one_reply_to(site, lead)
    assert text.endswith("again")
    assert "One." not in (await site.reply_to(late)).text, "it did not join what had died"
    assert [reply.id for reply in site.replies].count(last) == 0
    assert site.states(last)[-1] == "merged"
    assert site.states(last).count("merged") == 1


async def test_a_task_that_always_kills_the_orchestrator_is_given_up(site: Site) -> None:
    task = await site.send(PATIENT)
    for time in (1, 2, 3):
        await site.until_said(task, f"begun {time}")
        await site.end(signal.SIGKILL)
        await site.start()
    reply = await site.reply_to(task)
    assert reply.outcome == "interrupted"
    assert "3 times" in reply.text
    await let_go(site)
    again = await site.ask("result(' '.join(ARGV))", conversation=reply.conversation)
    assert "--resume" in again.text


async def test_an_ordered_stop_puts_the_task_back_and_it_goes_on_after_it(site: Site) -> None:
    task = await site.send(PATIENT)
    await site.until_said(task, "begun 1")
    assert await site.end(signal.SIGTERM) == 0
    assert await site.containers() == []
    assert site.egress.closed, "the network was given back"
    await site.start()
    await site.until_said(task, "begun 2")
    await let_go(site)
    assert (await one_reply_to(site, task)).startswith("2 ")


async def test_a_request_that_arrives_while_nobody_is_there_waits(site: Site) -> None:
    await site.end()
    task = await site.send("result('at last')")
    await site.start()
    assert await one_reply_to(site, task) == "at last"


async def test_the_bus_dies_while_the_agent_works_and_is_away_when_it_ends(site: Site) -> None:
    task = await site.send(PATIENT.replace("result(", "system('echo out > /outbox/out.txt')\nresult("))
    await site.until_said(task, "begun 1")
    await site.nats.kill()
    await let_go(site)
    async with asyncio.timeout(30):
        while await site.containers():
            await asyncio.sleep(0.1)
    await site.nats.start()
    # In memory, the egress-proxy's endpoints are this test's own connection, which comes back by itself.
    text = await one_reply_to(site, task)
    assert text.startswith("1 ")
    reply = await site.reply_to(task)
    assert [found.name for found in reply.attachments] == ["out.txt"]


async def test_the_egress_proxy_is_restarted_while_the_agent_works(site: Site) -> None:
    fetch = "system('python3 -c \"import urllib.request as u; print(u.urlopen(\\'http://203.0.113.7/\\').read().decode())\"')"
    program = f"""
say('first ' + {fetch})
while not os.path.exists('/storage/go'): sleep(0.05)
result({fetch})
"""
    task = await site.send(program)
    await site.until_said(task, "first 203.0.113.7:80")
    sandbox = site.egress.opened[-1].sandbox
    await site.egress.stop()
    await site.egress.start()
    async with asyncio.timeout(20):
        while not site.egress.proxy.messages:
            await asyncio.sleep(0.05)
    assert site.egress.opened[-1].sandbox == sandbox
    await let_go(site)
    assert await one_reply_to(site, task) == "203.0.113.7:80"


async def test_without_an_egress_proxy_no_agent_runs(site: Site) -> None:
    await site.egress.stop()
    try:
        task = await site.send("result('ran')")
        reply = await site.reply_to(task)
    finally:
        await site.egress.start()
    assert reply.outcome == "failed"
    assert "egress-proxy" in reply.text
    assert "running" not in site.states(task)
    assert await one_reply_to(site, task)


async def test_row_66_two_orchestrators_do_not_share_a_state_folder(site: Site) -> None:
    first = site.process
    with contextlib.suppress(AssertionError):
        async with asyncio.timeout(20):
            await site.start()
    assert site.process is not first
    assert await site.process.wait() == 1
    assert "another orchestrator works" in site.log()
    site.process = first
    assert (await site.ask("result('fine')")).text == "fine"


async def test_a_burst_of_redeliveries_is_one_task_each(site: Site) -> None:
    requests = [task_request(text=f"x\n---\nresult('{number}')") for number in range(6)]
    for _ in range(3):
        for request in requests:
            await site.bus.publish(subjects.task_requested(request.repo), request)
    replies = [await site.reply_to(request.id) for request in requests]
    assert [reply.text for reply in replies] == [str(number) for number in range(6)]
    await site.ask("result('after')")
    assert len(site.replies) == 7


async def test_what_a_killed_process_left_in_the_scratch_folder_is_gone(site: Site) -> None:
    await site.end(signal.SIGKILL)
    (site.state / "scratch" / "context-old").mkdir(parents=True)
    await site.start()
    assert list((site.state / "scratch").iterdir()) == []
