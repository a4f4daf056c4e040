"""Three hosts, each with an orchestrator and a nats-server of the cluster, on one PostgreSQL; a cable is pulled."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import psycopg
import pytest

from airut_orchestrator.testing.cluster import NatsCluster, nats_cluster
from airut_orchestrator.testing.network import open_switch
from airut_orchestrator.testing.postgres import postgres_server
from airut_sandbox.testing.containers import base_image, podman

from .site import Site, open_site
from .test_deaths import PATIENT
from .test_two_hosts import hosts_of, let_go, until_told

__all__ = ["base_image", "podman"]  # fixtures

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@dataclass
class Team:
    cluster: NatsCluster
    sites: Sequence[Site]


@pytest.fixture
async def team(tmp_path, podman, base_image) -> AsyncIterator[Team]:
    async with AsyncExitStack() as stack:
        switch = await stack.enter_async_context(open_switch(3))
        postgres = stack.enter_context(postgres_server(switch.address))
        cluster = await stack.enter_async_context(nats_cluster(tmp_path / "cluster", switch))
        first = await stack.enter_async_context(
            open_site(tmp_path, podman, base_image, postgres.new_database(), cluster)
        )
        others = [
            await stack.enter_async_context(first.beside(name, switch.hosts[number]))
            for number, name in enumerate(("second", "third"), 1)
        ]
        yield Team(cluster, (first, *others))


async def test_three_hosts_share_the_work_and_outlive_one_and_a_server_of_the_bus(team: Team) -> None:
    first, second, third = team.sites
    tasks = [await first.send(PATIENT) for _ in range(6)]
    for task in tasks:
        await first.until_said(task, "begun 1")
    assert [len(await site.containers()) for site in team.sites] == [2, 2, 2]

    # A cable is pulled: who sits on it knows no more than that nobody answers, and its agents go on for now.
    lost = team.cluster.switch.hosts[2]
    await lost.unplug()
    await asyncio.to_thread(unseen_for_an_hour, first, "third")
    told = await until_told(first, "host_lost")
    assert "2 tasks are tried again elsewhere, 2 conversations begin anew" in told.text
    async with asyncio.timeout(180):
        # It ends what it can no longer account for, before others would take it up.
        while await third.containers():
            await asyncio.sleep(0.2)
    await answered(first, tasks, first, second)
    where = hosts_of(*tasks, sites=team.sites)
    assert "third" not in where
    assert sorted(reply.id for reply in first.replies) == sorted(tasks), "one reply each"

    # It comes back, and works again.
    third.egress.listed.clear()
    await lost.plug_in()
    # Its egress-proxy is beyond the cable here, where servers of the bus take a while to find each other again.
    async with asyncio.timeout(120):
        await third.egress.listed.wait()
    await team.cluster.settled(first.bus)
    later = [await first.send(PATIENT) for _ in range(6)]
    for task in later:
        await first.until_said(task, "begun 1")
    assert [len(await site.containers()) for site in team.sites] == [2, 2, 2]

    # A server of the bus dies in the middle of it.
    await team.cluster.kill(team.cluster.switch.hosts[1])
    await answered(first, later, *team.sites)
    assert sorted(reply.id for reply in first.replies) == sorted([*tasks, *later]), "still one reply each"
    assert (await first.ask("result('after')")).text == "after"


async def answered(watcher: Site, tasks: Sequence[str], *sites: Site) -> None:
    """Let the agents of these hosts go until everything is answered."""
    async with asyncio.timeout(180):
        while not {reply.id for reply in watcher.replies} >= set(tasks):
            await let_go(*sites)
            await asyncio.sleep(0.1)


def unseen_for_an_hour(site: Site, host: str) -> None:
    """What a host that is away for long looks like; it may still have been writing just now."""
    with psycopg.connect(site.database.render_as_string()) as connection:
        connection.execute("UPDATE hosts SET seen_at = seen_at - interval '1 hour' WHERE name = %s", (host,))
