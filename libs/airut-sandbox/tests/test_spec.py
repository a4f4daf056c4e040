"""The words in which Podman is asked. Field-notes rows 9, 44, 46, 64, 66."""

import csv
from pathlib import Path

import pytest

from airut_sandbox.errors import SandboxError
from airut_sandbox.podman import Podman
from airut_sandbox.spec import (
    Mount,
    SandboxSpec,
    check_spec,
    create_arguments,
    env_file,
    mount_option,
    own_files,
    to_unset,
)

PODMAN = Podman(
    argv=("podman",),
    env={},
    runtime="runc",
    rootless=True,
    limits_enforced=True,
    state_dir=Path("/state"),
    ulimits=("nofile=1:1",),
    init_program=Path("/catatonit"),
    seccomp_profile=Path("/state/seccomp.json"),
)


def _spec(**changes: object) -> SandboxSpec:
    fields: dict[str, object] = {
        "name": "task-1",
        "image": "image",
        "command": ("run", "--it"),
        "labels": {"airut.installation": "one"},
    }
    return SandboxSpec(**{**fields, **changes})  # type: ignore[arg-type]


def _arguments(spec: SandboxSpec, podman: Podman = PODMAN) -> list[str]:
    return create_arguments(
        podman,
        spec,
        image_id="f" * 64,
        mounts=spec.mounts,
        env_path=Path("/env"),
        id_path=Path("/id"),
        pid_path=Path("/pid"),
        unset=["A"],
    )


def test_every_restriction_is_asked_for() -> None:
    given = set(_arguments(_spec()))
    assert given >= {
        "--network=none",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--security-opt=seccomp=/state/seccomp.json",
        "--pid=private",
        "--ipc=private",
        "--uts=private",
        "--cgroupns=private",
        "--http-proxy=false",
        "--image-volume=ignore",
        "--sdnotify=ignore",
        "--no-healthcheck",
        "--pull=never",
        "--user=0:0",
        "--init",
        "--memory=4096m",
        "--pids-limit=2048",
        "--cpus=2",
        "--ulimit=nofile=1:1",
        "--unsetenv=A",
        "--label=airut.installation=one",
        "--label=airut.sandbox=task-1",
        "--name=task-1",
    }
    assert {option for option in given if option.startswith("--cap-add")} == {
        f"--cap-add={name}" for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
    }


def test_the_command_cannot_become_an_option() -> None:
    arguments = _arguments(_spec(command=("--privileged", "--volume=/:/host")))
    separator = arguments.index("--")
    assert arguments[separator + 1 :] == ["f" * 64, "--privileged", "--volume=/:/host"]
    assert not [option for option in arguments[:separator] if option.startswith(("--privileged", "--volume"))]


def test_limits_that_cannot_be_enforced_are_not_pretended() -> None:
    from dataclasses import replace

    given = _arguments(_spec(), replace(PODMAN, limits_enforced=False))
    assert not [option for option in given if option.startswith(("--memory", "--pids-limit", "--cpus"))]


def test_values_of_variables_are_in_no_argument() -> None:
    spec = _spec(environment={"TOKEN": "surrogate-value"})
    assert not any("surrogate-value" in option for option in _arguments(spec))
    assert env_file(spec.environment) == "TOKEN=surrogate-value\n"
    assert "surrogate-value" not in repr(spec)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": "Upper"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "-flag"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "new\nline"}, "name"),
        ({"labels": {}}, "airut.installation"),
        ({"labels": {"airut.installation": ""}}, "airut.installation"),
        ({"command": ()}, "command"),
        ({"environment": {"A": "b\nC=d"}}, "line break"),
        ({"environment": {"A": "b\rc"}}, "line break"),
        ({"environment": {"A": "b\0c"}}, "line break"),
        ({"environment": {"A=B": "c"}}, "environment variable"),
        ({"environment": {"A\nB": "c"}}, "environment variable"),
        ({"environment": {"#A": "c"}}, "environment variable"),
        ({"mounts": (Mount(Path("/x"), "relative"),)}, "absolute"),
        ({"mounts": (Mount(Path("/x"), "/a/../b"),)}, "absolute"),
    ],
)
def test_what_podman_would_misread_is_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(SandboxError, match=word):
        check_spec(_spec(**changes))


def test_a_bad_value_is_not_repeated() -> None:
    with pytest.raises(SandboxError) as caught:
        check_spec(_spec(environment={"TOKEN": "secret\nvalue"}))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["/plain", "/with,comma", '/with"quote', "/with blank", "/with,ro=false,x"])
def test_paths_of_mounts_are_quoted(path: str) -> None:
    (fields,) = csv.reader([mount_option(Mount(Path(path), "/target", read_only=True))])
    assert fields == ["type=bind", f"source={path}", "target=/target", "bind-propagation=rprivate", "ro=true"]


def test_small_files_name_no_address_of_the_host() -> None:
    files = own_files(_spec())
    assert set(files) == {"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv"}
    assert files["/etc/resolv.conf"].startswith("nameserver 198.18.")


def test_an_image_may_not_set_what_steers_requests_and_the_agent() -> None:
    """Row 46."""
    image = [
        "PATH=/bin", "KEPT=1", "https_proxy=x", "HTTPS_PROXY=x", "ALL_PROXY=x", "NODE_OPTIONS=x", "LD_PRELOAD=x",
        "NODE_TLS_REJECT_UNAUTHORIZED=0", "GIT_SSL_NO_VERIFY=1", "ANTHROPIC_BASE_URL=x", "CLAUDE_CONFIG_DIR=x",
        "SSL_CERT_FILE=x", "BASH_ENV=x", "EMPTY",
    ]  # fmt: skip
    gone = to_unset(image, {"SSL_CERT_FILE": "ours"})
    assert not {"PATH", "KEPT", "EMPTY", "SSL_CERT_FILE"} & set(gone)
    assert len(gone) == len(image) - 4
