"""Podman on this host: the runtime that works, a configuration of our own, every call with a deadline."""

import asyncio
import contextlib
import os
import re
import resource
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import structlog

from airut_common import processes
from airut_common.private_file import replace_private
from airut_common.processes import Completed, ProcessError, ProcessFailed, ProcessTimedOut

from . import podman_config
from .disk import HostDisk
from .errors import PodmanUnusable
from .image_store import ImageStore
from .seccomp import install_profile

log = structlog.get_logger()

#: Unlikely numbers, so that finding them in the probe's cgroup proves that they were set for it.
_PROBE_PIDS: Final = 61
_PROBE_MEMORY: Final = 67 * 1024 * 1024
_LIMIT_FILES: Final = (
    "/sys/fs/cgroup/pids.max",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/cpu.max",
    "/sys/fs/cgroup/pids/pids.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


@dataclass(frozen=True)
class ImageFacts:
    """What a sandbox has to know of its image."""

    id: str
    environment: tuple[str, ...]
    """`NAME=value` each."""


@dataclass(frozen=True)
class Podman:
    """A Podman that passed the probe. `argv` is the command with its global options."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    runtime: str
    rootless: bool
    limits_enforced: bool
    """Whether this host lets us enforce memory, CPU and process limits."""
    state_dir: Path
    """Ours, mode 0700: configuration files and small per-sandbox files."""
    ulimits: tuple[str, ...]
    init_program: Path | None
    """What `--init` runs as process 1; without it nobody reaps the orphans in a sandbox."""
    seccomp_profile: Path
    image_store: ImageStore = field(default_factory=ImageStore, repr=False, compare=False)
    known_images: dict[str, ImageFacts] = field(default_factory=dict, repr=False, compare=False)
    """Facts by image id; an id stands for one content for ever."""
    disk: HostDisk = field(default_factory=HostDisk, repr=False, compare=False)
    """Whose sandboxes take how much of this host's disk."""

    async def run(
        self, *args: str, timeout_seconds: float = 60, stdin: bytes | None = None, check: bool = True
    ) -> Completed:
        """Run `podman ARGS`.

        Raises:
            ProcessFailed: a non-zero exit code, when `check`.
            ProcessTimedOut: the deadline passed; the whole process group was killed.
        """
        return await processes.run(
            [*self.argv, *args],
            timeout_seconds=timeout_seconds,
            stdin=stdin,
            env=self.env,
            cwd=self.state_dir,
            check=check,
        )

    async def run_on(
        self, *args: str, stdin: int, stdout: int, stderr: int, timeout_seconds: float = 60
    ) -> int:
        """Run `podman ARGS` on these descriptors and answer its exit code. Waits for Podman alone: what it starts
        may keep the descriptors, which `run` would take for unfinished output.

        Raises:
            ProcessTimedOut: the deadline passed; the whole process group was killed.
        """
        process = await processes.start_group(
            *self.argv,
            *args,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=dict(self.env),
            cwd=self.state_dir,
        )
        try:
            async with asyncio.timeout(timeout_seconds):
                return await process.wait()
        except TimeoutError:
            raise ProcessTimedOut("podman", timeout_seconds) from None
        finally:
            await processes.end_group(process)


@dataclass(frozen=True)
class _Attempt:
    """One combination to probe."""

    runtime: str | None
    own_storage: bool


async def probe_podman(state_dir: Path, *, runtime: str | None) -> Podman:
    """Find a Podman and runtime that really start a container on this host, and keep our own configuration for
    it in `state_dir`. `runtime` None tries Podman's default and then runc.

    Raises:
        PodmanUnusable: nothing works; the message names each attempt and its error.
    """
    if shutil.which("podman") is None:
        raise PodmanUnusable("podman is not installed; install it, for example with: apt-get install podman")
    state_dir = state_dir.absolute()
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_rootfs(rootfs := state_dir / "probe")
    failures: list[str] = []
    for attempt in _attempts(runtime):
        podman = _configure(state_dir, attempt)
        try:
            return await _try(podman, rootfs)
        except ProcessError as error:
            name = attempt.runtime or "Podman's default runtime"
            failures.append(f"{name}: {_brief(error)}")
            log.debug("podman probe failed", runtime=name, error=str(error))
    raise PodmanUnusable("no container could be started; " + "; ".join(dict.fromkeys(failures)))


def _attempts(runtime: str | None) -> list[_Attempt]:
    names: Sequence[str | None] = (runtime,) if runtime else (None, "runc")
    usable = [name for name in names if name is None or shutil.which(name) or "/" in name]
    # Rootful Podman finds overlay by itself, and a user's own storage.conf is obeyed.
    own = os.geteuid() != 0 and not (_config_home() / "containers/storage.conf").exists()
    return [_Attempt(name, own) for name in usable or names]


def _config_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _configure(state_dir: Path, attempt: _Attempt) -> Podman:
    """Write the configuration files and describe the Podman that uses them."""
    rootless = os.geteuid() != 0
    limits = podman_config.ulimits(
        resource.getrlimit(resource.RLIMIT_NOFILE)[1], resource.getrlimit(resource.RLIMIT_NPROC)[1]
    )
    (hooks := state_dir / "hooks").mkdir(exist_ok=True)
    init = podman_config.find_init()
    # Others may use the same folder now, perhaps with another runtime: a file is whole at any time, and says one thing.
    conf = state_dir / f"containers-{(attempt.runtime or 'default').replace('/', '_')}.conf"
    replace_private(conf, podman_config.containers_conf(limits, hooks, attempt.runtime, init).encode())
    env = podman_config.clean_environment(os.environ) | {
        "CONTAINERS_CONF": str(conf),
        "HOME": str(Path.home()),
    }
    if rootless:
        runtime_dir = _runtime_dir()
        env["XDG_RUNTIME_DIR"] = str(runtime_dir)
        if attempt.own_storage:
            data_home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
            storage = state_dir / "storage.conf"
            replace_private(storage, podman_config.storage_conf(data_home, runtime_dir).encode())
            env["CONTAINERS_STORAGE_CONF"] = str(storage)
    return Podman(
        argv=("podman",),
        env=env,
        runtime=attempt.runtime or "",
        rootless=rootless,
        limits_enforced=False,
        state_dir=state_dir,
        ulimits=limits,
        init_program=init,
        seccomp_profile=install_profile(state_dir),
    )


def _runtime_dir() -> Path:
    """A folder that only we may enter, which outlives this process.

    Raises:
        PodmanUnusable: somebody else holds the last candidate.
    """
    uid = os.geteuid()
    candidates = podman_config.runtime_dir_candidates(os.environ, uid)
    for folder in candidates:
        if podman_config.is_private(folder, uid):
            return folder
    last = candidates[-1]
    try:
        last.mkdir(mode=0o700)
    except OSError as error:
        raise PodmanUnusable(
            f"no private runtime folder: {last}: {error.strerror}; set XDG_RUNTIME_DIR"
        ) from None
    return last


def _write_rootfs(rootfs: Path) -> None:
    """An empty root that shows the host's programs read-only: probing needs no image."""
    rootfs.mkdir(exist_ok=True)
    for name in ("usr", "proc", "sys", "dev", "etc", "run", "tmp"):
        (rootfs / name).mkdir(exist_ok=True)
    for name in ("bin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            with contextlib.suppress(FileExistsError):
                (rootfs / name).symlink_to(f"usr/{name}")


async def _try(podman: Podman, rootfs: Path) -> Podman:
    """Run something in a container and look at the limits that it got."""
    done = await podman.run(
        *("run", "--rm", "--network=none", "--cap-drop=all", "--security-opt=no-new-privileges"),
        *("--security-opt=label=disable", "--cgroupns=private", "--read-only", "--http-proxy=false"),
        *(f"--pids-limit={_PROBE_PIDS}", f"--memory={_PROBE_MEMORY}", "--cpus=0.5", "--volume=/usr:/usr:ro"),
        *("--rootfs", str(rootfs), "/usr/bin/cat", *_LIMIT_FILES),
        check=False,
    )
    # `cat` misses some of the files on every host; only Podman and the runtime use 125 to 127.
    if done.returncode not in {0, 1}:
        raise ProcessFailed("podman", done)
    words = set(done.stdout.split())
    enforced = {str(_PROBE_PIDS).encode(), str(_PROBE_MEMORY).encode()} <= words
    if not enforced and podman.rootless is False and not words:
        log.warning(
            "resource limits could not be read back", output=done.stderr[-300:].decode("utf-8", "replace")
        )
    info = await podman.run(
        "info", "--format", "{{.Host.OCIRuntime.Name}}\n{{.Store.GraphDriverName}}\n{{.Store.GraphRoot}}"
    )
    name, driver, root = info.stdout.decode().strip().split("\n")
    store = ImageStore(Path(root) / f"{driver}-images")
    return replace(podman, runtime=name, limits_enforced=enforced, image_store=store)


def _brief(error: ProcessError) -> str:
    """The last line that says something: Podman puts warnings first."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return re.sub(r"\s+", " ", lines[-1])[:400] if lines else type(error).__name__
