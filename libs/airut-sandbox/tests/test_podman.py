"""Podman found by trying, with a configuration of our own. Field-notes rows 9, 65."""

import os
import stat
from pathlib import Path

import pytest

from airut_common.processes import ProcessFailed, ProcessTimedOut
from airut_sandbox.errors import PodmanUnusable
from airut_sandbox.podman import Podman, probe_podman

pytestmark = pytest.mark.integration


def test_what_was_found_fits_this_host(podman: Podman) -> None:
    assert podman.rootless is (os.geteuid() != 0)
    assert podman.runtime
    assert stat.S_IMODE(podman.state_dir.stat().st_mode) == 0o700
    assert podman.seccomp_profile.is_relative_to(podman.state_dir)


async def test_nothing_private_reaches_podman(
    podman: Podman, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Row 9: a host's socket or a service's secret in Podman's environment would end in containers or in /proc."""
    for name in (
        "ANTHROPIC_API_KEY",
        "CONTAINER_HOST",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "CONTAINERS_STORAGE_CONF",
    ):
        monkeypatch.setenv(name, "/canary")
    made = await probe_podman(tmp_path / "state", runtime=podman.runtime)
    assert not [name for name, value in made.env.items() if "canary" in value]
    assert "env" not in repr(made)


async def test_an_unknown_runtime_is_named(tmp_path: Path) -> None:
    with pytest.raises(PodmanUnusable, match="no-such-runtime"):
        await probe_podman(tmp_path / "state", runtime="no-such-runtime")


async def test_podman_missing_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PodmanUnusable, match="apt-get install podman"):
        await probe_podman(tmp_path / "state", runtime=None)


async def test_a_failure_and_a_deadline_are_errors(podman: Podman) -> None:
    """Row 65."""
    with pytest.raises(ProcessFailed):
        await podman.run("container", "inspect", "no-such-container")
    assert (await podman.run("container", "exists", "no-such-container", check=False)).returncode == 1
    with pytest.raises(ProcessTimedOut):
        await podman.run("version", timeout_seconds=0.001)
