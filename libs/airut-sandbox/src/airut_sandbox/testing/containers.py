"""Fixtures for tests that start real containers: Podman as it works here, the base image, a compiler for probes."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airut_common import processes
from airut_common.config.models import LimitsConfig
from airut_sandbox.base_image import ensure_base_image
from airut_sandbox.container import Exit, Mount, SandboxSpec, open_sandbox
from airut_sandbox.podman import Podman, probe_podman

LIMITS = LimitsConfig(timeout_seconds=60, memory_mib=256, cpus=1.0, pids=128)


def base_image_cache() -> Path:
    """Where this user's tests keep the base image's archive between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airut" / "base-image"


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """Podman as it works for this user."""
    return asyncio.run(probe_podman(tmp_path_factory.mktemp("podman"), runtime=None))


@pytest.fixture(scope="session")
def base_image(podman: Podman) -> str:
    """The reference of the base image, which has sh, python3, curl and git."""
    return asyncio.run(ensure_base_image(podman, cache_dir=base_image_cache()))


@dataclass
class Output:
    """Collects lines."""

    lines: list[str] = field(default_factory=list)

    async def __call__(self, line: bytes) -> None:
        self.lines.append(line.decode())

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True)
class Bench:
    """Makes specifications for one test: an installation of its own, a workspace, short limits."""

    podman: Podman
    image: str
    workspace: Path
    installation: str = field(default_factory=lambda: f"test-{secrets.token_hex(6)}")

    def spec(self, *command: str, **changes: Any) -> SandboxSpec:
        """A sandbox for `command`; without one it waits for ever."""
        fields: dict[str, Any] = {
            "name": f"sandbox-{secrets.token_hex(6)}",
            "image": self.image,
            "command": command or ("sleep", "1000"),
            "labels": {"airut.installation": self.installation},
            "mounts": (Mount(self.workspace, "/workspace"),),
            "limits": LIMITS,
        }
        return SandboxSpec(**{**fields, **changes})

    def shell(self, script: str, **changes: Any) -> SandboxSpec:
        """A sandbox for a shell script."""
        return self.spec("sh", "-c", script, **changes)

    async def run(
        self,
        spec: SandboxSpec,
        *,
        stdin: bytes = b"",
        on_line: Callable[[bytes], Awaitable[None]] | None = None,
        timeout_seconds: float = 30,
    ) -> tuple[Exit, str]:
        """Run it without a network; its outcome and its output."""
        output = Output()
        async with open_sandbox(self.podman, spec) as sandbox:
            done = await sandbox.run(stdin, on_line or output, timeout_seconds)
        return done, output.text

    async def containers(self) -> list[str]:
        """Ids of what is left of this installation."""
        done = await self.podman.run(
            "ps", "--all", "--quiet", f"--filter=label=airut.installation={self.installation}"
        )
        return done.stdout.decode().split()


@pytest.fixture
def bench(podman: Podman, base_image: str, tmp_path: Path) -> Bench:
    """For one test."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return Bench(podman, base_image, workspace)


async def compile_static(source: Path, target: Path) -> Path:
    """A C program without libraries, so that it runs in any image."""
    await processes.run(["gcc", "-static", "-O1", "-o", str(target), str(source)], timeout_seconds=60)
    return target
