"""The resource limits that the kernel really holds a process to, read from its control groups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airut_common.config.models import LimitsConfig

_ROOT: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class AppliedLimits:
    """None where nothing is limited or nothing can be read."""

    memory_bytes: int | None
    pids: int | None
    cpus: float | None


def read_groups(pid: int) -> Mapping[str, Path]:
    """Folders of a process's control groups by controller; version 2 has the name ``.

    Raises:
        OSError: the process is gone.
    """
    return dict(_controllers(Path(f"/proc/{pid}/cgroup").read_text().splitlines()))


def read_limits(paths: Mapping[str, Path]) -> AppliedLimits:
    """What holds for the processes in these groups now."""
    memory = _number(paths, "memory", "memory.max", "memory.limit_in_bytes")
    pids = _number(paths, "pids", "pids.max", "pids.max")
    return AppliedLimits(memory, pids, _cpus(paths))


def _controllers(lines: Iterable[str]) -> Iterable[tuple[str, Path]]:
    """From lines `hierarchy:controllers:path`."""
    for line in lines:
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            yield name, Path(f"{_ROOT}/{name}{path}" if name else f"{_ROOT}{path}")


def _read(folder: Path | None, name: str) -> str | None:
    if folder is None:
        return None
    try:
        return (folder / name).read_text().strip()
    except OSError:
        # Not there: this hierarchy does not limit it. The caller says that it is not enforced.
        return None


def _number(paths: Mapping[str, Path], controller: str, version2: str, version1: str) -> int | None:
    text = _read(paths.get(controller), version1) or _read(paths.get(""), version2)
    return int(text) if text is not None and text.isdigit() else None


def _cpus(paths: Mapping[str, Path]) -> float | None:
    quota, period = _read(paths.get("cpu"), "cpu.cfs_quota_us"), _read(paths.get("cpu"), "cpu.cfs_period_us")
    if quota is None or period is None:
        quota, _, period = (_read(paths.get(""), "cpu.max") or "max 1").partition(" ")
    return int(quota) / int(period) if quota.isdigit() else None


def count_oom_kills(paths: Mapping[str, Path]) -> int:
    """How many processes in these groups the kernel killed for want of memory; 0 when the groups are gone.

    Podman's own answer is missing where the process killed is not the first one, and on hybrid hierarchies.
    """
    text = _read(paths.get("memory"), "memory.oom_control") or _read(paths.get(""), "memory.events") or ""
    counts = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    return int(counts.get("oom_kill", 0))


def limit_differences(applied: AppliedLimits, wanted: LimitsConfig) -> list[str]:
    """Where more is allowed than wanted."""
    found: list[str] = []
    if applied.memory_bytes is None or applied.memory_bytes > wanted.memory_mib * 1024 * 1024:
        found.append(f"limits: memory is {applied.memory_bytes} bytes, not {wanted.memory_mib} MiB")
    if applied.pids is None or applied.pids > wanted.pids:
        found.append(f"limits: {applied.pids} processes, not {wanted.pids}")
    # Podman rounds to hundred-thousandths of a period.
    if applied.cpus is None or applied.cpus > wanted.cpus + 0.01:
        found.append(f"limits: {applied.cpus} CPUs, not {wanted.cpus:g}")
    return found
