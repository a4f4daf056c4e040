"""From a specification to a container whose namespaces exist and were checked, with nothing running in it yet."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from airut_common.processes import ProcessError

from .errors import SandboxError, SandboxRefused
from .image_facts import inspect_images
from .limits import limit_differences, read_groups, read_limits
from .podman import ImageFacts, Podman
from .readback import Expected, ExpectedMount, Facts, differences, expect_mount, read_facts
from .removal import despite_cancellation, remove_container
from .seccomp import profile_differences
from .spec import Mount, SandboxSpec, create_arguments, env_file, own_files, to_unset
from .streams import Pipe

_CREATE_SECONDS: Final = 60.0
#: Where Podman shows the program of `--init`, by version.
_INIT_TARGETS: Final = ("/run/podman-init", "/dev/init")
_ID = re.compile(r"[0-9a-f]{64}")
_ANNOTATION = re.compile(r"io\.podman\.annotations\.", re.IGNORECASE)


@dataclass
class Streams:
    """The container's standard streams. They are pipes of ours, so no log and no attached client is between."""

    stdin: Pipe = field(default_factory=Pipe)
    stdout: Pipe = field(default_factory=Pipe)
    stderr: Pipe = field(default_factory=Pipe)

    def keep_our_ends(self) -> None:
        """Let go of the ends that the container holds."""
        self.stdin.close_read()
        self.stdout.close_write()
        self.stderr.close_write()

    def close(self) -> None:
        """Close whatever is still ours."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()


@dataclass(frozen=True)
class Inspection:
    """What Podman says of a container that it made as it was asked to."""

    layer: Path | None
    """The host's folder with what the container itself writes; None where the storage driver has none."""


@dataclass(frozen=True)
class Created:
    """A container that exists and that the kernel confines as asked, as far as it can be seen before it starts."""

    id: str
    pid: int
    pidfd: int
    pid_file: Path
    """Where Podman's monitor notes the first process's number."""
    user_ns: int
    net_ns: int
    stub: bytes
    """The command line of the runtime's own process, which our command is going to replace."""
    expected: Expected
    limits_enforced: bool
    groups: Mapping[str, Path]
    inspection: asyncio.Task[Inspection]
    """Podman is still being asked. Nothing may run before it has answered: SandboxRefused when it made something else
    than what was asked for, SandboxError when it does not say."""
    streams: Streams

    def close(self) -> None:
        """Let go of all descriptors; the container itself stays."""
        os.close(self.pidfd)
        self.streams.close()


async def create_container(
    podman: Podman,
    spec: SandboxSpec,
    folder: Path,
    stack: AsyncExitStack,
    *,
    look: Callable[..., Facts] = read_facts,
) -> Created:
    """Create, initialise and check. `folder` takes our small files, `stack` the container's removal; `look` reads
    the kernel's answer. Podman's own is on its way when this returns: its network can be made meanwhile.

    Raises:
        SandboxRefused: the image or the kernel's answer is not acceptable.
        SandboxError: Podman could not make it.
    """
    image = await _inspect_image(podman, spec.image)
    mounts = [*spec.mounts, *_write_own_files(spec, folder)]
    env_path = _write(folder / "env", env_file(spec.environment))
    arguments = create_arguments(
        podman,
        spec,
        image_id=image.id,
        mounts=mounts,
        env_path=env_path,
        id_path=folder / "id",
        pid_path=folder / "pid",
        unset=to_unset(image.environment, spec.environment),
    )
    with _as_sandbox_error("the container could not be created"):
        await podman.run(*arguments, timeout_seconds=_CREATE_SECONDS)
        container_id = _read_id(folder / "id")
    # By its id, never by its name: a container of that name may be somebody else's (field notes 66).
    stack.push_async_callback(remove_container, podman, container_id)
    streams = await _initialise(podman, container_id)
    try:
        inspection = asyncio.create_task(_inspect(podman, spec, container_id), name="inspect container")
        # Not cut short: a Podman that is killed may leave a lock behind.
        stack.push_async_callback(lambda: despite_cancellation(_settle(inspection)))
        return _check(
            podman, spec, container_id,
            pid_file=folder / "pid", mounts=mounts, streams=streams, inspection=inspection, look=look,
        )  # fmt: skip
    except BaseException:
        streams.close()
        raise


async def _settle(inspection: asyncio.Task[Inspection]) -> None:
    await asyncio.wait([inspection])
    if not inspection.cancelled():
        inspection.exception()  # whoever runs the sandbox hears it


def _read_id(path: Path) -> str:
    text = path.read_text("ascii").strip()
    if not _ID.fullmatch(text):
        raise ValueError("podman did not say which container it made")
    return text


async def _inspect_image(podman: Podman, image: str) -> ImageFacts:
    """An image with Podman's own annotations is refused: through them, some versions let an image switch its
    isolation off (field notes 46)."""
    if image in podman.known_images:
        return podman.known_images[image]
    with _as_sandbox_error(f"the image {image} cannot be used"):
        found = await inspect_images(podman, [image])
        if found is None:
            raise SandboxError(f"the image {image} is not there")
        (inspected,) = found
        facts = ImageFacts(inspected["Id"], tuple(inspected.get("Config", {}).get("Env") or ()))
    names = [*(inspected.get("Annotations") or {}), *(inspected.get("Labels") or {})]
    steering = sorted(name for name in names if _ANNOTATION.match(name))
    if steering:
        raise SandboxRefused(f"the image carries {', '.join(steering)}; an image may not steer Podman")
    # A name may mean another image tomorrow; the id may not.
    podman.known_images[facts.id] = facts
    return facts


def _write_own_files(spec: SandboxSpec, folder: Path) -> Iterator[Mount]:
    for target, text in own_files(spec).items():
        path = _write(folder / Path(target).name, text)
        path.chmod(0o644)
        yield Mount(path, target, read_only=True)


def _write(path: Path, text: str) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    return path


async def _initialise(podman: Podman, container_id: str) -> Streams:
    """`podman init` with our pipes as its standard streams, which it passes on to the container."""
    streams = Streams()
    try:
        with _as_sandbox_error("the container could not be initialised"):
            code = await podman.run_on(
                *("init", container_id),
                stdin=streams.stdin.read_end,
                stdout=streams.stdout.write_end,
                stderr=streams.stderr.write_end,
                timeout_seconds=_CREATE_SECONDS,
            )
        if code:
            reason = streams.stderr.drain().decode("utf-8", "replace").strip()
            raise SandboxError(f"the container could not be initialised: {reason}")
    except BaseException:
        streams.close()
        raise
    streams.keep_our_ends()
    # Podman said its word on the same pipes; the container has not begun to speak.
    streams.stdout.drain()
    streams.stderr.drain()
    return streams


async def _inspect(podman: Podman, spec: SandboxSpec, container_id: str) -> Inspection:
    with _as_sandbox_error("the container could not be inspected"):
        done = await podman.run("container", "inspect", container_id)
        inspected = json.loads(done.stdout)[0]
        config = json.loads(Path(inspected["OCIConfigPath"]).read_bytes())
    if found := list(_asked(config, spec)):
        raise _not_confined(found)
    return Inspection(_layer(inspected))


def _check(
    podman: Podman,
    spec: SandboxSpec,
    container_id: str,
    *,
    pid_file: Path,
    mounts: list[Mount],
    streams: Streams,
    inspection: asyncio.Task[Inspection],
    look: Callable[..., Facts],
) -> Created:
    with _as_sandbox_error("the container's process is not known"):
        pid = int(pid_file.read_text("ascii"))
        pidfd = os.pidfd_open(pid)
    try:
        stub = Path(f"/proc/{pid}/cmdline").read_bytes()
        facts = look(pid, [mount.target for mount in mounts] + list(_INIT_TARGETS))
        expected = Expected(_expected_mounts(podman, mounts, facts), podman.rootless, executed=False)
        groups = read_groups(pid)
        found = differences(facts, expected)
        weak = limit_differences(read_limits(groups), spec.limits)
        if podman.limits_enforced:
            found += weak
        if found:
            raise _not_confined(found)
    except OSError as error:
        os.close(pidfd)
        raise SandboxRefused(f"the sandbox could not be checked: {error}") from error
    except BaseException:
        os.close(pidfd)
        raise
    return Created(
        id=container_id,
        pid=pid,
        pidfd=pidfd,
        pid_file=pid_file,
        user_ns=facts.namespaces["user"],
        net_ns=facts.namespaces["net"],
        stub=stub,
        expected=expected,
        limits_enforced=not weak,
        groups=groups,
        inspection=inspection,
        streams=streams,
    )


def _not_confined(found: list[str]) -> SandboxRefused:
    return SandboxRefused("the sandbox is not confined as asked: " + "; ".join(found))


def _layer(inspected: Mapping[str, Any]) -> Path | None:
    upper = (inspected.get("GraphDriver", {}).get("Data") or {}).get("UpperDir")
    return Path(upper) if upper else None


def _expected_mounts(podman: Podman, mounts: list[Mount], facts: Facts) -> tuple[ExpectedMount, ...]:
    ours = [expect_mount(mount.source, mount.target, read_only=mount.read_only) for mount in mounts]
    if podman.init_program is not None:
        seen = {mount.target for mount in facts.mounts}
        ours += [
            expect_mount(podman.init_program, target, read_only=True)
            for target in _INIT_TARGETS
            if target in seen
        ]
    return tuple(ours)


def _asked(config: Mapping[str, Any], spec: SandboxSpec) -> Iterator[str]:
    """What Podman made of our words: the runtime is given this, and what it holds cannot all be read back from
    the kernel (a seccomp filter's content)."""
    yield from profile_differences(config.get("linux", {}).get("seccomp"))
    given = set(config.get("process", {}).get("env") or ())
    for name, value in spec.environment.items():
        if f"{name}={value}" not in given:
            yield f"environment: {name} was changed on its way"
    if config.get("hooks"):
        yield "hooks: programs of the host are tied to the container"
    if config.get("linux", {}).get("devices"):
        yield "devices: a device of the host was added"


@contextmanager
def _as_sandbox_error(what: str) -> Iterator[None]:
    try:
        yield
    except (ProcessError, OSError, ValueError, LookupError) as error:
        raise SandboxError(f"{what}: {error}") from error
