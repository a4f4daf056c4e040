"""What the kernel really gave a sandbox, compared with what was asked for. Versions lie, behaviour does not
(field notes 46). `read_facts` looks; `differences` decides and touches nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Kept so that package managers work in a sandbox (field notes 77); bit numbers are the kernel's.
CAPABILITIES: Final[Mapping[str, int]] = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "SETGID": 6,
    "SETUID": 7,
}
CAPABILITY_MASK: Final = sum(1 << bit for bit in CAPABILITIES.values())

SECCOMP_FILTER: Final = 2  # SECCOMP_MODE_FILTER, as in the field `Seccomp` of /proc/PID/status

_NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "uts")

#: What every container has beside our mounts: pseudo file systems, all of them the container's own.
_PSEUDO: Final[Mapping[str, str]] = {
    "/proc": "proc",
    "/sys": "sysfs",
    "/dev": "tmpfs",
    "/dev/pts": "devpts",
    "/dev/mqueue": "mqueue",
    "/dev/shm": "tmpfs",  # noqa: S108 - a mount point inside
}
#: Single device files, bound from the host where devices cannot be made (rootless).
_DEVICES: Final = frozenset(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty"))
_CGROUP_TYPES: Final = frozenset({"cgroup", "cgroup2", "tmpfs"})

_MUST_BE_MASKED: Final = ("/proc/kcore", "/proc/keys", "/sys/firmware")
_MUST_BE_READ_ONLY: Final = ("/sys", "/proc/sys", "/proc/sysrq-trigger", "/proc/bus", "/proc/fs", "/proc/irq")


@dataclass(frozen=True)
class MountFact:
    """One line of `/proc/PID/mountinfo`. `root` is the folder of that file system that is shown."""

    target: str
    root: str
    fstype: str
    options: frozenset[str]


@dataclass(frozen=True)
class Facts:
    """One process as the kernel describes it."""

    capabilities: Mapping[str, int]
    """`inh`, `prm`, `eff`, `bnd`, `amb` to bit mask."""
    no_new_privileges: bool
    seccomp_mode: int
    namespaces: Mapping[str, int]
    """Name to inode number."""
    own_namespaces: Mapping[str, int]
    """Those of the process that asks."""
    uid_map: tuple[tuple[int, int, int], ...]
    mounts: tuple[MountFact, ...]
    shown: Mapping[str, tuple[int, int]]
    """What is seen at a mount's target: device and inode number."""
    missing_paths: frozenset[str] = frozenset()
    """Paths of `_MUST_BE_*` that this kernel does not have at all."""


@dataclass(frozen=True)
class ExpectedMount:
    """A mount that we asked for, by what the source is on the host."""

    target: str
    read_only: bool
    identity: tuple[int, int]
    """Device and inode number of the source."""


@dataclass(frozen=True)
class Expected:
    """What was asked for."""

    mounts: tuple[ExpectedMount, ...]
    rootless: bool
    executed: bool
    """Whether the command itself runs. Before that, the seccomp filter may legitimately still be missing: a
    runtime installs it last, when no-new-privileges is set."""


def differences(facts: Facts, expected: Expected) -> list[str]:
    """Every way in which the sandbox is weaker than asked for; empty means that it is as it should be."""
    return [
        *_privileges(facts, expected),
        *_namespaces(facts, expected),
        *_our_mounts(facts, expected),
        *_other_mounts(facts.mounts, expected.mounts),
        *_kernel_files(facts),
    ]


def _privileges(facts: Facts, expected: Expected) -> Iterable[str]:
    for name in ("prm", "eff", "bnd", "inh", "amb"):
        extra = facts.capabilities.get(name, ~0) & ~CAPABILITY_MASK
        if extra:
            yield f"capabilities: {name} has {extra:#x} too many"
    if not facts.no_new_privileges:
        yield "no-new-privileges is off"
    allowed = {SECCOMP_FILTER} if expected.executed else {0, SECCOMP_FILTER}
    if facts.seccomp_mode not in allowed:
        yield f"seccomp: mode {facts.seccomp_mode}, no filter is in force"


def _namespaces(facts: Facts, expected: Expected) -> Iterable[str]:
    wanted = (*_NAMESPACES, "user") if expected.rootless else _NAMESPACES
    for name in wanted:
        theirs, ours = facts.namespaces.get(name), facts.own_namespaces.get(name)
        if theirs is None or theirs == ours:
            yield f"namespaces: {name} is the host's"
    if expected.rootless and any(inside == 0 and outside == 0 for inside, outside, _ in facts.uid_map):
        yield "user namespace: root inside is root outside"
    if expected.rootless and not facts.uid_map:
        yield "user namespace: no id is mapped"


def _our_mounts(facts: Facts, expected: Expected) -> Iterable[str]:
    # The last mount on a target is the one that is seen.
    seen = {mount.target: mount for mount in facts.mounts}
    for wanted in expected.mounts:
        mount = seen.get(wanted.target)
        if mount is None:
            yield f"mounts: {wanted.target} is missing"
            continue
        # A running command may rename the folders on the way to a mount, so this is for before the start.
        if not expected.executed and facts.shown.get(wanted.target) != wanted.identity:
            yield f"mounts: {wanted.target} shows something else than its source"
        if wanted.read_only and "ro" not in mount.options:
            yield f"mounts: {wanted.target} is writable"


def _other_mounts(mounts: Iterable[MountFact], expected: Iterable[ExpectedMount]) -> Iterable[str]:
    ours = {wanted.target for wanted in expected}
    for mount in mounts:
        if mount.target not in ours and not _is_usual(mount):
            yield f"mounts: {mount.target} ({mount.fstype}) was not asked for"


def _is_usual(mount: MountFact) -> bool:
    if mount.target == "/":
        return mount.fstype in {"overlay", "fuse.fuse-overlayfs"}
    if mount.target in _PSEUDO:
        return mount.fstype == _PSEUDO[mount.target]
    if mount.target in _DEVICES:
        return mount.fstype in {"devtmpfs", "tmpfs"} and mount.root == f"/{Path(mount.target).name}"
    if mount.target.startswith("/sys/fs/cgroup"):
        return mount.fstype in _CGROUP_TYPES
    # Masked and read-only parts of the container's own /proc and /sys: an empty tmpfs, the null device, or the
    # part itself, bound again to be made read-only.
    if mount.target.startswith(("/proc/", "/sys/")):
        null = mount.fstype in {"devtmpfs", "tmpfs"} and mount.root in {"/", "/null"}
        return null or mount.fstype == "proc"
    return False


def _kernel_files(facts: Facts) -> Iterable[str]:
    seen = {mount.target: mount for mount in facts.mounts}
    for path in _MUST_BE_MASKED:
        mount = seen.get(path)
        if path not in facts.missing_paths and (mount is None or mount.fstype not in {"tmpfs", "devtmpfs"}):
            yield f"mounts: {path} can be read"
    for path in _MUST_BE_READ_ONLY:
        mount = seen.get(path)
        if path not in facts.missing_paths and (mount is None or "ro" not in mount.options):
            yield f"mounts: {path} can be written"


def read_facts(pid: int, targets: Iterable[str] = ()) -> Facts:
    """Look at a process, and at what it sees at `targets`.

    Raises:
        OSError: it is gone, or not ours to look at.
    """
    proc = Path("/proc", str(pid))
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line)
    names = (*_NAMESPACES, "user")
    return Facts(
        capabilities={
            name: int(status[f"Cap{name.capitalize()}"], 16) for name in ("inh", "prm", "eff", "bnd", "amb")
        },
        no_new_privileges=status["NoNewPrivs"].strip() == "1",
        seccomp_mode=int(status["Seccomp"]),
        namespaces={name: (proc / "ns" / name).stat().st_ino for name in names},
        own_namespaces={name: Path("/proc/self/ns", name).stat().st_ino for name in names},
        uid_map=tuple(_triple(line) for line in (proc / "uid_map").read_text().splitlines()),
        mounts=tuple(parse_mount(line) for line in (proc / "mountinfo").read_text().splitlines()),
        shown={target: identity for target in targets if (identity := _identity(proc, target)) is not None},
        missing_paths=frozenset(
            path for path in (*_MUST_BE_MASKED, *_MUST_BE_READ_ONLY) if not Path(path).exists()
        ),
    )


def _triple(line: str) -> tuple[int, int, int]:
    inside, outside, count = line.split()
    return int(inside), int(outside), int(count)


def parse_mount(line: str) -> MountFact:
    """One line of mountinfo, see proc(5). Blanks and backslashes in paths are octal escapes there."""
    before, _, after = line.partition(" - ")
    fields = before.split()
    return MountFact(
        target=_unescape(fields[4]),
        root=_unescape(fields[3]),
        fstype=after.split()[0],
        options=frozenset(fields[5].split(",")),
    )


def _unescape(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def _identity(proc: Path, target: str) -> tuple[int, int] | None:
    try:
        # The target itself is not followed: a link is never what was mounted.
        facts = Path(f"{proc}/root{target}").lstat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def expect_mount(source: Path, target: str, *, read_only: bool) -> ExpectedMount:
    """What a bind mount of `source` looks like inside."""
    facts = source.stat()
    return ExpectedMount(target, read_only, (facts.st_dev, facts.st_ino))
