"""Limits read back from control groups. Field-notes row 44."""

from pathlib import Path

import pytest

from airut_common.config.models import LimitsConfig
from airut_sandbox.limits import AppliedLimits, count_oom_kills, limit_differences, read_limits

WANTED = LimitsConfig(memory_mib=256, cpus=1.5, pids=100)
EXACT = AppliedLimits(256 * 1024 * 1024, 100, 1.5)


def test_exact_and_tighter_limits_are_fine() -> None:
    assert limit_differences(EXACT, WANTED) == []
    assert limit_differences(AppliedLimits(128 * 1024 * 1024, 50, 0.5), WANTED) == []


@pytest.mark.parametrize(
    ("applied", "word"),
    [
        (AppliedLimits(None, 100, 1.5), "memory"),
        (AppliedLimits(512 * 1024 * 1024, 100, 1.5), "memory"),
        (AppliedLimits(EXACT.memory_bytes, None, 1.5), "processes"),
        (AppliedLimits(EXACT.memory_bytes, 4096, 1.5), "processes"),
        (AppliedLimits(EXACT.memory_bytes, 100, None), "CPUs"),
        (AppliedLimits(EXACT.memory_bytes, 100, 2.0), "CPUs"),
    ],
)
def test_each_looser_limit_is_named(applied: AppliedLimits, word: str) -> None:
    (found,) = limit_differences(applied, WANTED)
    assert word in found


def _write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_version_2(tmp_path: Path) -> None:
    group = _write(
        tmp_path,
        memory__max="268435456\n",
        pids__max="100\n",
        cpu__max="150000 100000\n",
        memory__events="low 0\noom_kill 2\n",
    )
    assert read_limits({"": group}) == EXACT
    assert count_oom_kills({"": group}) == 2


def test_version_2_without_limits(tmp_path: Path) -> None:
    group = _write(tmp_path, memory__max="max\n", pids__max="max\n", cpu__max="max 100000\n")
    assert read_limits({"": group}) == AppliedLimits(None, None, None)


def test_version_1(tmp_path: Path) -> None:
    groups = {
        "memory": _write(
            tmp_path / "m",
            memory__limit_in_bytes="268435456\n",
            memory__oom_control="under_oom 0\noom_kill 1\n",
        ),
        "pids": _write(tmp_path / "p", pids__max="100\n"),
        "cpu": _write(tmp_path / "c", cpu__cfs_quota_us="150000\n", cpu__cfs_period_us="100000\n"),
        "": tmp_path,
    }
    assert read_limits(groups) == EXACT
    assert count_oom_kills(groups) == 1


def test_version_1_without_a_quota(tmp_path: Path) -> None:
    group = _write(tmp_path, cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert read_limits({"cpu": group}).cpus is None


def test_groups_that_are_gone_limit_nothing(tmp_path: Path) -> None:
    groups = {"": tmp_path / "gone", "memory": tmp_path / "gone"}
    assert read_limits(groups) == AppliedLimits(None, None, None)
    assert count_oom_kills(groups) == 0
