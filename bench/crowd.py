"""Many sandboxes whose agents only wait: what they cost the orchestrator."""

import asyncio
import tempfile
from pathlib import Path

from airut_demo.world.mail_user import compose, send
from airut_demo.world.world import USER_DOMAIN
from bench.proxies import cpu_seconds, rss_mib
from bench.rows import Row
from chaos.site import Site, open_site

CROWD = 50
IDLE_SECONDS = 20.0
WAIT_SECONDS = 110
"""An agent may work for 120 s there."""
READY_SECONDS = 100.0


async def measure() -> list[Row]:
    """One sandbox first, then all: the difference is theirs."""
    with tempfile.TemporaryDirectory(prefix="airut-bench-") as name:
        async with open_site(Path(name), max_concurrent=CROWD) as site:
            await _ask(site, 1, seconds=0)
            await site.world.mailbox.wait_for(timeout_seconds=60)
            pid = site.installation.processes()["orchestrator"]
            before = rss_mib(pid)
            for number in range(2, CROWD + 2):
                await _ask(site, number, seconds=WAIT_SECONDS)
            logs = site.orchestrator / "conversations"
            async with asyncio.timeout(READY_SECONDS):
                while len(list(logs.glob("*/storage/log"))) < CROWD + 1:  # noqa: ASYNC110 - files tell nobody
                    await asyncio.sleep(0.2)
            began = cpu_seconds(pid)
            await asyncio.sleep(IDLE_SECONDS)
            used = (cpu_seconds(pid) - began) / IDLE_SECONDS
            after = rss_mib(pid)
    return [
        Row(
            f"{CROWD} sandboxes whose agents wait: CPU of the orchestrator",
            f"{used:.1%} of a core",
            "",
            "< 10% of a core",
            used < 0.1,
        ),
        Row(
            "  its memory",
            f"{after:.0f} MiB",
            f"{before:.0f} MiB before they came",
            f"< 150 MiB and 1 MiB for each: {150 + CROWD} MiB",
            after < 150 + CROWD,
        ),
    ]


async def _ask(site: Site, number: int, *, seconds: float) -> None:
    sender = f"crowd-{number}@{USER_DOMAIN}"
    recipient = site.address(real_agent=False)
    text = f"Please do [[{number} {seconds}]]"
    mail = site.world.domain.sign(compose(sender=sender, recipient=recipient, subject=sender, text=text))
    await send(mail, server=site.installation.smtp, sender=sender, recipient=recipient)
