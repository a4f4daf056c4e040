"""Replies across `kill -9` at each step of a delivery (200 times): none lost, none twice but where SMTP cannot tell."""

import asyncio
import multiprocessing
import os
import signal
from collections import Counter
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any, get_args, override

import nats
import pytest

from airut_common.bus import Bus
from airut_common.bus.topology import MAX_DELIVERIES, REPLIES
from airut_common.contracts.v1 import subjects
from airut_common.testing.builders import acknowledgement, reply
from airut_gateway_email.acknowledgements import acknowledgement_key
from airut_gateway_email.testing.crashes import CONSUMER, TAKEN_CONSUMER, Crash, Point, live
from airut_gateway_email.testing.sink import MailSink
from airut_gateway_email.threads import issue_message_id

STORED = "stored"
"""Dies when the relay has the mail and has not said so yet."""
POINTS = (*get_args(Point), STORED)
IN_DOUBT = {"accepted", STORED}
"""Between these moments and our record lies what SMTP cannot tell: the mail goes out again, the same to the byte."""
KILLS = 200
REPLIES_SENT = 60


# Forked from one that has everything imported: a life takes a tenth of a second.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["airut_gateway_email.testing.crashes"])


class KillingSink(MailSink):
    """Kills the gateway while it waits for the answer to its mail."""

    victim: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.deaths: list[str] = []

    @override
    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = await super().handle_DATA(server, session, envelope)
        if self.victim is not None:
            os.kill(self.victim, signal.SIGKILL)
            self.deaths.append(str(message_from_bytes(envelope.original_content)["Message-ID"]))
            self.victim = None
        return answer


async def _life(crash: Crash, sink: KillingSink, *, killed_by_relay: bool) -> None:
    """Start a gateway and wait for its death."""
    process = processes.Process(target=live, args=(crash,), daemon=True)
    await asyncio.to_thread(process.start)
    sink.victim = process.pid if killed_by_relay else None
    try:
        await asyncio.to_thread(process.join, 60)
        assert process.exitcode == -signal.SIGKILL, crash.point
    finally:
        process.kill()
        await asyncio.to_thread(process.join)


async def _soon_again(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    for consumer in (CONSUMER, TAKEN_CONSUMER):
        await client.jetstream().add_consumer(REPLIES.name, consumer.config())
    await client.close()


@pytest.mark.integration
async def test_a_waiting_reply_outlives_many_restarts(nats_server, bus: Bus, tmp_path: Path):
    await _soon_again(nats_server.url)
    answer = reply()
    await bus.publish(subjects.reply("email", "demo"), answer, msg_id=answer.id)
    sink = KillingSink()
    async with sink.running():
        for _ in range(MAX_DELIVERIES + 1):
            await _life(Crash(nats_server.url, sink.port, tmp_path, "taken"), sink, killed_by_relay=False)
        await _life(Crash(nats_server.url, sink.port, tmp_path, "acknowledged"), sink, killed_by_relay=False)
    assert sink.mails.qsize() == 1
    assert await bus.stream_size("AIRUT_DEAD") == 0


@pytest.mark.integration
@pytest.mark.timeout(300)
async def test_200_deaths_at_every_step_lose_nothing_and_repeat_only_what_is_in_doubt(
    nats_server, bus: Bus, tmp_path: Path
):
    await _soon_again(nats_server.url)
    answers = [reply() for _ in range(REPLIES_SENT)]
    for answer in answers:
        await bus.publish(subjects.reply("email", "demo"), answer, msg_id=answer.id)
    ids = {issue_message_id(a.conversation, a.id, "airut.example"): a.id for a in answers}
    await _deaths(Crash(nats_server.url, 0, tmp_path, None), bus, ids, KILLS)


@pytest.mark.integration
@pytest.mark.timeout(120)
async def test_acknowledgements_outlive_deaths_at_every_step_in_the_same_way(
    nats_server, bus: Bus, tmp_path: Path
):
    await _soon_again(nats_server.url)
    told = [acknowledgement() for _ in range(12)]
    for taken in told:
        await bus.publish(subjects.acknowledgement("email", "demo"), taken, msg_id=f"taken-{taken.id}")
    ids = {
        issue_message_id(taken.conversation, acknowledgement_key(taken.id), "airut.example"): taken.id
        for taken in told
    }
    crash = Crash(nats_server.url, 0, tmp_path, None, sends="acknowledgements")
    await _deaths(crash, bus, ids, 3 * len(POINTS))


async def _deaths(crash: Crash, bus: Bus, ids: dict[str, str], kills: int) -> None:
    """Kill a gateway so often, at each step in turn, and count what has arrived; `ids` are tasks by Message-ID."""
    sink = KillingSink()
    async with sink.running():
        crash = replace(crash, relay_port=sink.port)
        for number in range(kills):
            point = POINTS[number % len(POINTS)]
            life = replace(crash, point=None if point == STORED else point)
            await _life(life, sink, killed_by_relay=point == STORED)
        assert await bus.stream_size(REPLIES.name) > 0, "every death had a mail to work on"
        last = processes.Process(target=live, args=(crash,), daemon=True)
        last.start()
        try:
            async with asyncio.timeout(60):
                while await bus.stream_size(REPLIES.name):
                    await asyncio.sleep(0.05)
        finally:
            last.kill()
            await asyncio.to_thread(last.join)

    deaths = [line.split() for line in (crash.state / "deaths").read_text().splitlines()]
    assert len(deaths) + len(sink.deaths) == kills
    doubts = Counter(task for point, task in deaths if point in IN_DOUBT)
    doubts.update(ids[message_id] for message_id in sink.deaths)
    copies: Counter[str] = Counter()
    texts: dict[str, set[bytes]] = {}
    while not sink.mails.empty():
        mail = sink.mails.get_nowait()
        message_id = str(mail.message["Message-ID"])
        copies[message_id] += 1
        texts.setdefault(message_id, set()).add(mail.data)
    assert copies.keys() == ids.keys()
    assert all(len(versions) == 1 for versions in texts.values())
    assert {ids[name]: count for name, count in copies.items()} == {
        task: 1 + doubts[task] for task in ids.values()
    }
    assert await bus.stream_size("AIRUT_DEAD") == 0
    assert doubts.total() <= kills * len(IN_DOUBT) // len(POINTS)
