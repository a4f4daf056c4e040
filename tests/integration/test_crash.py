"""`kill -9` of each part while a task runs: one reply, nothing lost (acceptance 5)."""

import asyncio
import json
import os
import secrets
import signal
from pathlib import Path

import pytest

from airut_common.testing.processes import children, ended
from airut_demo.world.gate import Gate
from airut_demo.world.world import GIT_NAME

from .conftest import ALL, LARGE_REPOSITORY, Site, bash, message_id, text_of

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

STEPS = (
    bash("date +%s >> /storage/begun; sleep 6; git ls-remote origin | head -1"),
    bash("echo finished; wc -l < /storage/begun"),
    ALL,
)


async def killed_while_it_runs(site: Site, victim: str) -> str:
    """The text of the one reply to a task during which `victim` was killed."""
    subject = f"Survive the death of {victim}"
    mail = await site.send(f"Do {site.script(*STEPS)}", subject=subject)
    await site.until(subject, "running")
    before = site.processes()[victim]
    os.kill(before, signal.SIGKILL)
    reply = await site.reply_to(mail, 200)
    await site.refresh()
    # A second reply would follow at once: the next task's reply comes after it.
    await site.ask(bash("true"), ALL, subject=f"After {victim}")
    assert len(site.replies_to(mail)) == 1
    assert site.processes()[victim] != before
    return text_of(reply)


@pytest.mark.parametrize(
    "victim", ["orchestrator", "egress-proxy", "nats-server", "gateway-email", "dashboard"]
)
async def test_one_reply_and_nothing_lost(site: Site, victim: str) -> None:
    text = await killed_while_it_runs(site, victim)
    assert "finished" in text
    assert "refs/heads" in text or "HEAD" in text


# Clients and scripts try again after a moment; this one does until the proxy must be there.
CLONE = f"""\
for attempt in $(seq 60); do
    rm -rf /tmp/clone
    git clone https://{GIT_NAME}/{LARGE_REPOSITORY}.git /tmp/clone && break
    sleep 1
done
git -C /tmp/clone fsck --full && echo cloned in spite of it
"""


async def kill_the_proxy_at(site: Site, gate: Gate) -> None:
    """While an answer waits at the gate, which is opened then."""
    try:
        async with asyncio.timeout(60):
            await gate.reached.wait()
        proxy = site.processes()["egress-proxy"]
        workers = children(proxy)
        assert workers
        os.kill(proxy, signal.SIGKILL)
        # They end with it, yet not in the same instant, and would pass on what the gate lets through.
        await ended((proxy, *workers))
    finally:
        site.world.git.gate = site.world.model.gate = None
        gate.opened.set()


async def test_a_clone_outlives_the_egress_proxy(site: Site) -> None:
    """A part of the objects has arrived when the proxy dies; the script tries again."""
    files = {f"{name}.txt": secrets.token_hex(1024 * 1024) for name in range(4)}
    await asyncio.to_thread(site.world.git.create, LARGE_REPOSITORY, files)
    gate = site.world.git.gate = Gate()
    mail = await site.send(f"Do {site.script(bash(CLONE), ALL)}", subject="Clone while the proxy dies")
    await kill_the_proxy_at(site, gate)
    text = text_of(await site.reply_to(mail))
    assert "early EOF" in text
    assert "cloned in spite of it" in text
    await site.refresh()


async def test_claude_code_outlives_the_egress_proxy_in_the_middle_of_an_answer(site: Site) -> None:
    """The model has begun to speak when the proxy dies; Claude Code asks again, and its tools run once."""
    script = site.script(bash("echo worked >> /storage/worked; wc -l < /storage/worked"), ALL)
    asked_before = len(site.world.model.carried_over)
    gate = site.world.model.gate = Gate()
    mail = await site.send(f"Do {script}", subject="Speak while the proxy dies")
    await kill_the_proxy_at(site, gate)
    assert "[0] 1" in text_of(await site.reply_to(mail))
    assert len(site.world.model.carried_over) - asked_before > 2  # two steps, and the first one again
    await site.refresh()


async def test_row_54_a_mail_that_is_delivered_again_is_one_task(site: Site) -> None:
    from airut_demo.installation import ADDRESS
    from airut_demo.world.mail_user import send
    from airut_demo.world.world import USER

    mail = await site.send(f"Do {site.script(bash('echo once'), ALL)}", subject="Twice")
    await send(mail, server=site.installation.smtp, sender=USER, recipient=ADDRESS)
    await site.reply_to(mail)
    await site.ask(bash("true"), ALL, subject="After twice")
    assert len(site.replies_to(mail)) == 1
    assert len([task for task in await site.api("/tasks") if task["subject"] == "Twice"]) == 1
    assert message_id(mail)


async def test_an_ordered_stop_leaves_nothing_behind_and_the_task_goes_on_after_it(own_site: Site) -> None:
    site, subject = own_site, "Stopped in between"
    mail = await site.send(f"Do {site.script(*STEPS)}", subject=subject)
    await site.until(subject, "running")
    await site.installation.stop()
    assert site.installation.process.returncode == 0
    marker = f"AIRUT_INSTALLATION={_installation_id(site)}".encode()
    assert not [pid for pid in _pids() if marker in _environment(pid)]
    await site.installation.start()
    assert "finished" in text_of(await site.reply_to(mail))
    assert len(site.replies_to(mail)) == 1


def _installation_id(site: Site) -> str:
    return json.loads((site.installation.folder / "state" / "installation.json").read_text())["id"]


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
