"""From a mail that is taken to an agent that runs, stage by stage; image and mirror are warm."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from airut_demo.__main__ import cache_folder
from airut_demo.installation import ADDRESS, API_KEY, GIT_TOKEN, DemoInstallation, settings
from airut_demo.traces import remove_traces
from airut_demo.world.mail_user import compose, send
from airut_demo.world.messages_api import Say, Script
from airut_demo.world.world import USER, World, open_world
from airut_sandbox.base_image import ensure_base_image
from airut_sandbox.podman import Podman, probe_podman
from bench.rows import Row, p50, p99

TASKS = 8
MARK = "Measure this."
STAGES = (
    "accept_to_claim", "mirror", "egress_open", "image", "workspace", "agent", "inbox", "container", "attach", "start",
)  # fmt: skip


async def measure() -> list[Row]:
    """New conversations, then replies in one thread; the baseline is a bare container of the same image."""
    with tempfile.TemporaryDirectory(prefix="airut-bench-") as name:
        folder = Path(name)
        podman = await probe_podman(folder / "podman", runtime=None)
        image = await ensure_base_image(podman, cache_dir=cache_folder() / "base-image")
        scripts = (Script(MARK, (Say(lambda _: "measured"),)),)
        async with open_world(folder / "world", scripts) as world:
            installation = DemoInstallation(folder)
            installation.write(settings(world, base_image=image, real_model=False))
            try:
                async with installation.running():
                    await installation.set_secret(GIT_TOKEN, world.git_token)
                    await installation.set_secret(API_KEY, world.api_key)
                    await _task(world, installation, None)  # warms image, mirror and agent
                    fresh = [(await _task(world, installation, None))[0] for _ in range(TASKS)]
                    replies, parent = [], None
                    for _ in range(TASKS + 1):
                        timings, parent = await _task(world, installation, parent)
                        replies.append(timings)
            finally:
                await remove_traces(podman, installation.id)
        bare = await _bare_containers(podman, image)
    rows = [
        _total("a new conversation", fresh, bare),
        _total("a reply in the thread", replies[1:], bare),
        _from_claim(replies[1:], bare),
    ]
    return rows + [Row(f"  {stage}", _stage(fresh, stage), "", "", None) for stage in STAGES]


def _total(what: str, timings: list[dict[str, float]], bare: list[float]) -> Row:
    values = [item["accept_to_agent"] / 1000 for item in timings]
    return Row(
        f"{what}, p50 / p99 of {len(values)}",
        f"{p50(values):.2f} s / {p99(values):.2f} s",
        f"{p50(bare):.2f} s for `podman run` of the same base image",
        "< 1.5 s (p50)",
        p50(values) < 1.5,
    )


def _from_claim(timings: list[dict[str, float]], bare: list[float]) -> Row:
    values = [item["accept_to_agent"] - item["accept_to_claim"] for item in timings]
    return Row(
        "  of it from the claim to the agent's process, p50 / p99",
        f"{p50(values):.0f} ms / {p99(values):.0f} ms",
        f"{p50(bare) * 1000:.0f} ms for `podman run` of the same base image",
        "< 400 ms (p50)",
        p50(values) < 400,
    )


def _stage(timings: list[dict[str, float]], stage: str) -> str:
    values = [item[stage] for item in timings if stage in item]
    return f"{statistics.median(values):.0f} ms" if values else "not told"


async def _task(
    world: World, installation: DemoInstallation, parent: str | None
) -> tuple[dict[str, float], str]:
    """One task; its timings, and the Message-ID of its answer."""
    subject = f"Bench {time.monotonic_ns()}"
    mail = compose(sender=USER, recipient=ADDRESS, subject=subject, text=MARK, in_reply_to=parent)
    await send(world.domain.sign(mail), server=installation.smtp, sender=USER, recipient=ADDRESS)
    reply = await world.mailbox.wait_for(
        lambda message: subject in str(message["Subject"]), timeout_seconds=180
    )
    task = await _finished(installation, subject)
    timings: dict[str, float] = task["timings_ms"]
    return timings, str(reply["Message-ID"])


async def _finished(installation: DemoInstallation, subject: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=installation.dashboard) as client, asyncio.timeout(30):
        while True:
            for task in (await client.get("/api/v1/tasks")).json():
                if task["subject"] == subject and task["final"]:
                    found: dict[str, Any] = task
                    return found
            await asyncio.sleep(0.05)


async def _bare_containers(podman: Podman, image: str) -> list[float]:
    times = []
    ulimits = [f"--ulimit={limit}" for limit in podman.ulimits]
    for _ in range(TASKS):
        began = time.perf_counter()
        await podman.run("run", "--rm", "--network=none", *ulimits, image, "true")
        times.append(time.perf_counter() - began)
    return times
