"""The installation that is struck: all of `airut up` in a small world, on a small disk, with clocks of its own."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from airut_common.processes import run
from airut_common.testing.ports import free_port
from airut_demo.__main__ import cache_folder
from airut_demo.installation import API_KEY, GIT_TOKEN, DemoInstallation, settings
from airut_demo.traces import remove_traces
from airut_demo.world.messages_api import Say, Script, ToolUse
from airut_demo.world.world import GIT_NAME, REPOSITORY, USER_DOMAIN, World, open_world
from airut_sandbox.agent_binary import platform_name
from airut_sandbox.base_image import ensure_base_image
from airut_sandbox.podman import Podman, probe_podman
from chaos.plan import SERVICES

QUICK: Final = "quick"
"""The repository whose agent is `agent.py`."""
QUICK_VERSION: Final = "0.0.1"
DISK_BYTES: Final = 2 * 1024**3
_MAX_CONCURRENT: Final = 4
_POLICY: Final = f"url_prefixes:\n  - host: {GIT_NAME}\n    path: /{QUICK}.git/*\n"
_DOCKERFILE: Final = "ARG AIRUT_BASE\nFROM ${AIRUT_BASE}\nLABEL project=quick\n"
_FAKETIME: Final = "faketime/libfaketime.so.1"


@dataclass
class Site:
    """What is struck, and what it is measured by."""

    folder: Path
    world: World
    installation: DemoInstallation
    podman: Podman

    @property
    def state(self) -> Path:
        """The installation's state folder, on a disk of its own."""
        return self.installation.folder / "state"

    @property
    def orchestrator(self) -> Path:
        """The orchestrator's folder."""
        return self.state / "services" / "orchestrator"

    def address(self, *, real_agent: bool) -> str:
        """Where mails for a repository go."""
        return f"{REPOSITORY if real_agent else QUICK}@airut.example"

    def clock(self, service: str) -> Path:
        """The file that says how wrong a service's clock is."""
        return self.folder / "clocks" / service

    async def containers(self) -> list[str]:
        """Ids of this installation's containers."""
        ours = f"--filter=label=airut.installation={self.installation.id}"
        return (await self.podman.run("ps", "--all", "--quiet", "--no-trunc", ours)).stdout.decode().split()


@asynccontextmanager
async def open_site(folder: Path, *, max_concurrent: int = _MAX_CONCURRENT) -> AsyncIterator[Site]:
    """An installation that runs and is ready."""
    podman = await probe_podman(folder / "podman", runtime=None)
    image = await ensure_base_image(podman, cache_dir=cache_folder() / "base-image")
    cache = folder / "cache"
    _install_agents(cache)
    async with open_world(folder / "world", (), files={}) as world:
        await asyncio.to_thread(
            world.git.create,
            QUICK,
            {
                "README.md": "Quick\n",
                ".airut/network-allowlist.yaml": _POLICY,
                ".airut/container/Dockerfile": _DOCKERFILE,
            },
        )
        world.model.scripts = (
            Script("errand", (ToolUse("Bash", {"command": "echo worked"}), Say(" ".join))),
        )
        installation = DemoInstallation(folder / "installation")
        installation.write(_config(world, image, max_concurrent))
        async with _small_disk(installation.folder / "state"):
            installation.environment |= {
                "AIRUT_CACHE_DIR": str(cache),
                "PATH": f"{_clock_shop(folder)}:{os.environ['PATH']}",
            }
            try:
                async with installation.running():
                    await installation.set_secret(GIT_TOKEN, world.git_token)
                    await installation.set_secret(API_KEY, world.api_key)
                    yield Site(folder, world, installation, podman)
            finally:
                await remove_traces(podman, installation.id)


def _config(world: World, image: str, max_concurrent: int) -> dict[str, Any]:
    config = settings(world, base_image=image, real_model=False)
    demo = config["repos"][REPOSITORY]
    demo["senders"] = [f"*@{USER_DOMAIN}"]
    config["max_concurrent"] = max_concurrent
    # Those who send must find it again after each restart.
    config["email"]["listen"] = f"127.0.0.1:{free_port()}"
    config["repos"][QUICK] = {
        "address": f"{QUICK}@airut.example",
        "senders": demo["senders"],
        "git": {"url": f"https://{GIT_NAME}/{QUICK}.git", "ca_file": str(world.ca.file)},
        "agent": {"version": QUICK_VERSION},
        "limits": {"timeout_seconds": 120, "memory_mib": 256, "cpus": 1.0},
    }
    return config


def _install_agents(cache: Path) -> None:
    """The quick one, and beside it those that are cached on this host, so that nothing is fetched twice."""
    flavour = platform_name(os.uname().machine, "glibc")
    program = cache / "agents" / QUICK_VERSION / flavour / "claude"
    program.parent.mkdir(parents=True)
    shutil.copyfile(Path(__file__).with_name("agent.py"), program)
    program.chmod(0o555)
    for version in (cache_folder() / "agents").glob("*"):
        (cache / "agents" / version.name).symlink_to(version)


@asynccontextmanager
async def _small_disk(path: Path) -> AsyncIterator[None]:
    """A file system that can be filled without harm to anybody."""
    path.mkdir(mode=0o700)
    options = f"size={DISK_BYTES},mode=0700"
    await run(["mount", "-t", "tmpfs", "-o", options, "airut-chaos", str(path)], timeout_seconds=30)
    try:
        yield
    finally:
        await run(["umount", "--lazy", str(path)], timeout_seconds=30)


def _clock_shop(folder: Path) -> Path:
    """A folder whose `setpriv`, which `airut up` starts every service with, gives each a clock of its own."""
    libraries = sorted(Path("/usr/lib").glob(f"*/{_FAKETIME}"))
    if not libraries:
        raise FileNotFoundError("libfaketime is missing; run `make setup`")
    clocks = folder / "clocks"
    clocks.mkdir()
    for service in SERVICES:
        (clocks / service).write_text("+0\n")
    shop = folder / "bin"
    shop.mkdir()
    wrapper = shop / "setpriv"
    cases = "\n".join(
        f'    *" airut_{service.replace("-", "_")} "*) file={clocks / service};;' for service in SERVICES
    )
    wrapper.write_text(f"""#!/bin/sh
case " $* " in
{cases}
esac
if [ -n "$file" ]; then
    export LD_PRELOAD={libraries[0]} FAKETIME_TIMESTAMP_FILE="$file" FAKETIME_CACHE_DURATION=1
    # Only the time of day is wrong: neither timers nor the times of files.
    export FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 FAKETIME_DONT_RESET=1
fi
exec {shutil.which("setpriv")} "$@"
""")
    wrapper.chmod(0o755)
    return shop
