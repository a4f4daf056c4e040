"""The network of an image build: a namespace of its own, made and attached as that of a sandbox, in which nothing else
runs (field-notes row 73).

A build step is not ours to attach: Podman makes it and runs it at once. So a container that never starts holds the
namespace, and every step is put into it. The engine's authority has to be known to programs in the steps, and to leave
no trace: its file is mounted where the overlay puts it afterwards anyway, and the variables that name it are build
arguments, which no image keeps.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from airut_sandbox.container import open_sandbox
from airut_sandbox.dockerfile import DockerfileRefused
from airut_sandbox.errors import SandboxError
from airut_sandbox.overlay import CA_PATH, CA_VARIABLES
from airut_sandbox.podman import Podman
from airut_sandbox.sandbox import Sandbox
from airut_sandbox.spec import RESOLVER, SandboxSpec

BuildNetwork = Callable[[str], AbstractAsyncContextManager[Path]]
"""From the id of an image that is here to a file of the namespace to build in, attached while the context is open."""

#: Steps may not change the rules of the namespace that they share.
_DROPPED: Final = ("CAP_NET_ADMIN", "CAP_NET_RAW")
_DIRECTIVE: Final = re.compile(r"\s*#\s*[A-Za-z]+\s*=")
_FROM: Final = re.compile(r"\s*FROM\s", re.IGNORECASE)


@asynccontextmanager
async def open_namespace(
    podman: Podman, image: str, *, name: str, labels: Mapping[str, str]
) -> AsyncIterator[tuple[Sandbox, Path]]:
    """A sandbox that is never started, to be attached, and the file of its network namespace.

    Raises:
        SandboxError: it could not be made, is not confined as asked, or ended while the context was open.
    """
    spec = SandboxSpec(name=name, image=image, command=("/nothing/is/run",), labels=labels, workdir="/")
    loop = asyncio.get_running_loop()
    async with open_sandbox(podman, spec) as sandbox:
        try:
            # Podman looks the namespace up by the process's number at each step: when the process is gone, the number
            # may become another's.
            async with asyncio.timeout(None) as alive:
                with sandbox.watched(lambda: alive.reschedule(loop.time())):
                    await sandbox.inspected()
                    yield sandbox, Path(f"/proc/{sandbox.pid}/ns/net")
        except TimeoutError as error:
            if not alive.expired():
                raise
            raise SandboxError("the network of the build ended before the build") from error


def build_options(podman: Podman, namespace: Path, ca_file: Path) -> list[str]:
    """What `podman build` is told beside the Dockerfile of `declare_variables`."""
    return [
        f"--network=ns:{namespace}",
        f"--dns={RESOLVER}",
        f"--volume={ca_file}:{CA_PATH}:ro",
        f"--security-opt=seccomp={podman.seccomp_profile}",
        *(f"--cap-drop={capability}" for capability in _DROPPED),
    ]


def declare_variables(dockerfile: str) -> str:
    """The file with the variables that name the authority's file as arguments of every stage.

    Raises:
        DockerfileRefused: where a stage begins cannot be told for certain.
    """
    lines = dockerfile.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if any(_DIRECTIVE.match(line) and "escape" in line.lower() for line in lines):
        raise _unclear("an escape directive")
    if any(
        "<<" in line and _FROM.match(later) for number, line in enumerate(lines) for later in lines[number:]
    ):
        raise _unclear("a FROM behind <<")
    declared = [f"ARG {name}={CA_PATH}" for name in CA_VARIABLES]
    result: list[str] = []
    continued = False
    for line in lines:
        begins = _FROM.match(line) is not None
        ends_open = line.rstrip().endswith("\\")
        if begins and (continued or ends_open):
            raise _unclear("a FROM over several lines, or within another instruction")
        result.append(line)
        if begins:
            result += declared
        # A comment or an empty line does not end a continued instruction.
        if line.strip() and not line.lstrip().startswith("#"):
            continued = ends_open
    return "\n".join(result)


def _unclear(what: str) -> DockerfileRefused:
    return DockerfileRefused(
        f"where builds have a network, {what} is not supported: write each FROM on a line"
    )
