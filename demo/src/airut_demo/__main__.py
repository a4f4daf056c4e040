"""`make demo`: the main job on this machine, told step by step. Exit code 1 when anything was not as it must be."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

from airut_demo.installation import API_KEY, GIT_TOKEN, DemoInstallation, demo_base_image, settings
from airut_demo.scenario import SCRIPTS
from airut_demo.story import Story
from airut_demo.transcript import Transcript
from airut_demo.world.world import World, open_world

STATE = Path(".airut-demo")


async def demo(transcript: Transcript, *, stay: bool, real_key: str | None) -> int:
    """Run the story; with `stay`, keep the dashboard up until Ctrl-C."""
    folder = STATE.resolve()
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    transcript.title("Setting up")
    image = await demo_base_image(folder, _cache())
    transcript.step("the base image is ready")
    async with open_world(folder / "world", SCRIPTS) as world:
        transcript.step("a small world is up: DNS, mail, git over HTTPS, the Messages API")
        installation = DemoInstallation(folder)
        installation.write(settings(world, base_image=image, real_model=real_key is not None))
        async with installation.running():
            await _store_secrets(installation, world, real_key)
            transcript.step("airut up: NATS and all services are ready, the secrets are sealed")
            transcript.step(f"dashboard: {installation.dashboard}")
            story = Story(world, installation, transcript, real_model=real_key is not None)
            await story.run()
            transcript.title("Done" if not story.failures else "Not as it must be")
            for failure in story.failures:
                transcript.line(f"  ✗ {failure}")
            if stay:
                transcript.line(f"The dashboard stays at {installation.dashboard} until Ctrl-C.")
                await _until_interrupted()
    return 1 if story.failures else 0


async def _store_secrets(installation: DemoInstallation, world: World, real_key: str | None) -> None:
    await installation.set_secret(GIT_TOKEN, world.git_token)
    await installation.set_secret(API_KEY, real_key or world.api_key)


async def _until_interrupted() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _cache() -> Path:
    base = os.environ.get("AIRUT_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "demo" if base else Path.home() / ".cache" / "airut" / "demo"


def main() -> int:
    """Entry point."""
    stay = os.environ.get("DEMO_EXIT") != "1"
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(demo(Transcript(), stay=stay, real_key=os.environ.get("ANTHROPIC_API_KEY")))
    return 130


if __name__ == "__main__":
    sys.exit(main())
