"""Runs that begin together on one host share a folder for Podman's files."""

import json
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from airut_sandbox import podman as podman_module
from airut_sandbox.seccomp import PROFILE, install_profile

AT_ONCE = 8


def together(*tasks: Callable[[], object]) -> None:
    """Begin all at the same moment; raises what one of them raised."""
    barrier = Barrier(len(tasks))

    def begin(task: Callable[[], object]) -> None:
        barrier.wait(10)
        task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        for done in [pool.submit(begin, task) for task in tasks]:
            done.result(30)


def test_the_root_of_the_probe_is_made_by_whoever_is_first(tmp_path: Path) -> None:
    for index in range(50):
        root = tmp_path / str(index)
        together(*(lambda root=root: podman_module._write_rootfs(root) for _ in range(AT_ONCE)))
        assert (root / "bin").is_symlink() == Path("/bin").is_symlink()


def test_a_profile_that_is_written_again_is_never_half_there(tmp_path: Path) -> None:
    target = install_profile(tmp_path)
    whole = PROFILE.read_bytes()

    def read() -> None:
        for _ in range(2000):
            assert target.read_bytes() == whole

    together(read, *(lambda: [install_profile(tmp_path) for _ in range(100)] for _ in range(2)))
    assert json.loads(target.read_bytes())
    assert list(tmp_path.iterdir()) == [target]


def test_another_runtime_has_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the attempt of one run would change what the containers of another are made with."""
    found = {}
    for runtime in (None, "runc", "/opt/own/crun"):
        made = podman_module._configure(tmp_path, podman_module._Attempt(runtime, own_storage=False))
        found[runtime] = Path(made.env["CONTAINERS_CONF"])
    for runtime, path in found.items():
        assert tomllib.loads(path.read_text())["engine"].get("runtime") == runtime
