"""The resource limits that the kernel really holds a process to, read from its control groups."""

from collections.abc import Iterable
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


def read_limits(pid: int) -> AppliedLimits:
    """What holds for a process now.

    Raises:
        OSError: the process is gone.
    """
    paths = dict(_controllers(Path(f"/proc/{pid}/cgroup").read_text().splitlines()))
    memory = _number(paths, "memory", "memory.max", "memory.limit_in_bytes")
    pids = _number(paths, "pids", "pids.max", "pids.max")
    return AppliedLimits(memory, pids, _cpus(paths))


def _controllers(lines: Iterable[str]) -> Iterable[tuple[str, Path]]:
    """Controller name to folder, from lines `hierarchy:controllers:path`; version 2 has the name ``."""
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


def _number(paths: dict[str, Path], controller: str, version2: str, version1: str) -> int | None:
    text = _read(paths.get(controller), version1) or _read(paths.get(""), version2)
    return int(text) if text is not None and text.isdigit() else None


def _cpus(paths: dict[str, Path]) -> float | None:
    quota, period = _read(paths.get("cpu"), "cpu.cfs_quota_us"), _read(paths.get("cpu"), "cpu.cfs_period_us")
    if quota is None or period is None:
        quota, _, period = (_read(paths.get(""), "cpu.max") or "max 1").partition(" ")
    return int(quota) / int(period) if quota.isdigit() else None


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
