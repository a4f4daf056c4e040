"""Podman's configuration as text. Field-notes row 9."""

import tomllib
from pathlib import Path

import pytest

from airut_sandbox.podman_config import (
    clean_environment,
    containers_conf,
    find_init,
    is_private,
    runtime_dir_candidates,
    storage_conf,
    ulimits,
)


@pytest.mark.parametrize(
    ("files", "processes", "expected"),
    [
        (1024, 4096, ("nofile=1024:1024", "nproc=4096:4096", "core=1:1")),
        (-1, -1, ("nofile=65536:65536", "nproc=4096:4096", "core=1:1")),
        (1048576, 100, ("nofile=65536:65536", "nproc=100:100", "core=1:1")),
    ],
)
def test_ulimits_stay_within_our_own(files: int, processes: int, expected: tuple[str, ...]) -> None:
    assert ulimits(files, processes) == expected


def test_containers_conf() -> None:
    text = containers_conf(
        ("nofile=1:1", "core=1:1"), Path("/state/hooks"), "runc", Path("/usr/bin/catatonit")
    )
    parsed = tomllib.loads(text)
    assert parsed["containers"] == {
        "default_ulimits": ["nofile=1:1", "core=1:1"],
        "init_path": "/usr/bin/catatonit",
    }
    assert parsed["engine"] == {"events_logger": "none", "hooks_dir": ["/state/hooks"], "runtime": "runc"}
    bare = tomllib.loads(containers_conf((), Path("/h"), None, None))
    assert "runtime" not in bare["engine"]
    assert "init_path" not in bare["containers"]


def test_storage_conf() -> None:
    parsed = tomllib.loads(storage_conf(Path("/home/a/.local/share"), Path("/run/user/1")))
    assert parsed["storage"] == {
        "driver": "overlay",
        "graphroot": "/home/a/.local/share/containers/storage",
        "runroot": "/run/user/1/containers",
    }


def test_only_known_variables_reach_podman() -> None:
    given = {
        "PATH": "/bin",
        "CONTAINER_HOST": "x",
        "NOTIFY_SOCKET": "x",
        "LISTEN_PID": "1",
        "AIRUT_SECRET": "x",
    }
    assert clean_environment(given) == {"PATH": "/bin"}


def test_runtime_folders() -> None:
    usual = (Path("/run/user/7"), Path("/tmp/podman-run-7"))
    assert runtime_dir_candidates({}, 7) == usual
    assert runtime_dir_candidates({"XDG_RUNTIME_DIR": "relative"}, 7) == usual
    assert runtime_dir_candidates({"XDG_RUNTIME_DIR": "/own"}, 7) == (Path("/own"), *usual)


def test_a_folder_that_others_can_enter_is_not_private(tmp_path: Path) -> None:
    (folder := tmp_path / "f").mkdir(mode=0o700)
    uid = folder.stat().st_uid
    assert is_private(folder, uid)
    assert not is_private(folder, uid + 1)
    (tmp_path / "link").symlink_to(folder)
    assert not is_private(tmp_path / "link", uid)
    folder.chmod(0o750)
    assert not is_private(folder, uid)
    assert not is_private(tmp_path / "missing", uid)


def test_the_init_program_is_found_on_the_path(tmp_path: Path) -> None:
    program = tmp_path / "catatonit"
    program.write_text("")
    usual = find_init("")
    assert find_init(str(tmp_path)) == usual
    program.chmod(0o755)
    assert find_init(str(tmp_path)) == (usual or program)
