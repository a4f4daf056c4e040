"""`make demo`: the main job on this machine, told step by step. Exit code 1 when anything was not as it must be."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from airut_common.log import configure_logging
from airut_common.processes import ProcessError
from airut_demo.errors import DemoFailed
from airut_demo.folder import demo_folder, empty_folder
from airut_demo.installation import API_KEY, GIT_TOKEN, DemoInstallation, settings
from airut_demo.scenario import SCRIPTS
from airut_demo.story import Story
from airut_demo.traces import remove_traces
from airut_demo.transcript import Transcript
from airut_demo.watching import open_dashboard
from airut_demo.world.world import open_world
from airut_sandbox.base_image import ensure_base_image
from airut_sandbox.errors import SandboxError
from airut_sandbox.podman import Podman, probe_podman

STATE = Path(".airut-demo")
INTERRUPTED = 130


async def demo(transcript: Transcript, *, stay: bool, real_key: str | None) -> list[str]:
    """Run the story; with `stay`, keep the dashboard up until cancelled. Answers what was not as it must be.

    Raises:
        DemoFailed: it came to a stop on the way.
    """
    async with demo_folder(STATE) as folder:
        transcript.title("Setting up")
        former = DemoInstallation(folder).id
        await empty_folder(folder)
        podman = await probe_podman(folder / "podman", runtime=None)
        if former:
            await remove_traces(podman, former)
        image = await ensure_base_image(podman, cache_dir=cache_folder() / "base-image")
        transcript.step(f"the base image is ready: {image}")
        async with open_world(folder / "world", SCRIPTS) as world:
            transcript.step("a small world is up: DNS, mail, git over HTTPS, the Messages API")
            installation = DemoInstallation(folder)
            installation.write(settings(world, base_image=image, real_model=real_key is not None))
            async with _running(installation, podman):
                await installation.set_secret(GIT_TOKEN, world.git_token)
                await installation.set_secret(API_KEY, real_key or world.api_key)
                transcript.step("airut up: NATS and all services are ready, the secrets are sealed")
                transcript.step(f"dashboard: {installation.dashboard}")
                async with open_dashboard(installation.dashboard) as dashboard:
                    story = Story(world, installation, dashboard, transcript, real_key=real_key)
                    await story.run()
                transcript.end(story.failures)
                if stay:
                    transcript.line(f"The dashboard stays at {installation.dashboard} until Ctrl-C.")
                    await _until_cancelled()
                return story.failures


@asynccontextmanager
async def _running(installation: DemoInstallation, podman: Podman) -> AsyncIterator[None]:
    try:
        async with installation.running():
            yield
    finally:
        await remove_traces(podman, installation.id)


async def _until_cancelled() -> None:
    """Ctrl-C is how a demo that stays up comes to its regular end."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    if (task := asyncio.current_task()) is not None:
        task.uncancel()


def cache_folder() -> Path:
    """Where downloads and archives outlive a run; services use the same."""
    named = os.environ.get("AIRUT_CACHE_DIR")
    return (
        Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airut"
    )


async def _until_signalled(transcript: Transcript, *, stay: bool) -> int:
    running = asyncio.ensure_future(demo(transcript, stay=stay, real_key=os.environ.get(API_KEY) or None))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Once is enough: the ordered stop has deadlines of its own.
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        return 1 if await running else 0
    except asyncio.CancelledError:
        transcript.line("Stopped.")
        return INTERRUPTED
    except (DemoFailed, SandboxError, ProcessError) as error:
        transcript.end([str(error)])
        return 1


def main() -> int:
    """Entry point."""
    configure_logging("airut-demo", log_format="text", level="warning")
    return asyncio.run(_until_signalled(Transcript(), stay=os.environ.get("DEMO_EXIT") != "1"))


if __name__ == "__main__":
    sys.exit(main())
