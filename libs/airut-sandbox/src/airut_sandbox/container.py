"""One container for one task: made, checked against what the kernel really gave, run, and gone afterwards."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from airut_common.config.models import LimitsConfig

from .podman import Podman

INSTALLATION_LABEL = "airut.installation"
#: Nothing listens there: what is sent to port 53 of any address ends at the egress-proxy.
RESOLV_CONF = "nameserver 198.18.0.1\noptions timeout:2 attempts:2\n"


@dataclass(frozen=True)
class Mount:
    """A host folder or file shown inside. `source` must exist."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class SandboxSpec:
    """What is asked for. `labels` must hold `airut.installation`."""

    name: str
    image: str
    command: Sequence[str]
    labels: Mapping[str, str]
    workdir: str = "/workspace"
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    resolv_conf: str = RESOLV_CONF


@dataclass(frozen=True)
class Exit:
    """How the command ended. `code` is 128 + signal for one that was killed."""

    code: int
    timed_out: bool
    oom_killed: bool
    stopped: bool
    """Ended by `Sandbox.stop`."""
    stderr_tail: bytes
    """The last 16 KiB at most."""


class Sandbox:
    """A container whose namespaces exist; the command starts with `run`."""

    name: str
    limits_enforced: bool

    async def attach_network(self, socket: Path, token: str) -> None:
        """Give the sandbox's listeners to the egress-proxy behind `socket`; also after the proxy restarted.

        Raises:
            AttachFailed: with the reason; the sandbox then has no network.
        """
        raise NotImplementedError

    async def run(
        self, stdin: bytes, on_line: Callable[[bytes], Awaitable[None]], timeout_seconds: float
    ) -> Exit:
        """Start the command, give it `stdin` and then end of file, and hand each line of its output (without the
        line end) to `on_line`, in order. A line over 8 MiB is cut and ends in `CUT_MARK`.

        Raises:
            SandboxRefused: the running process is not confined as asked; it was killed before it got `stdin`.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """End it: SIGTERM, SIGKILL after 5 s. Works in every state; `run` then returns with `stopped`."""
        raise NotImplementedError


@asynccontextmanager
async def open_sandbox(podman: Podman, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
    """Create the container and its namespaces, and check both; removed on exit, whatever happens.

    Raises:
        SandboxRefused: the image or the kernel's answer is not acceptable.
        SandboxError: Podman could not make it.
    """
    raise NotImplementedError
    yield


async def remove_leftovers(podman: Podman, installation: str) -> list[str]:
    """Remove every container labelled with this installation; answers their names."""
    raise NotImplementedError
