"""Which failed builds are made again: those that others disturbed, and only those."""

from pathlib import Path

import pytest

from airut_sandbox.image_build import BuildFailed, podman_build, store_changed
from airut_sandbox.podman import Podman

#: Said by Podman 4.3 while another process ran `podman rmi`.
DISTURBED = [
    "Error: checking if cached image exists from a previous build: getting top layer info: layer not known",
    'Error: reading image "955e86c5f87b": locating image with ID "955e86c5f87b": image not known',
    'Error: checking: locating item named "manifest" for image with ID "df3" (consider removing): file does not exist',
]
OWN_FAULT = [
    "",
    "STEP 1/2: FROM scratch",
    'Error: building at STEP "RUN false": while running runtime: exit status 1',
    "echo layer not known",
    "Error: layer not known\nError: building at STEP 2: exit status 1",
]


@pytest.mark.parametrize("tail", DISTURBED)
def test_disturbed(tail: str) -> None:
    assert store_changed(tail)
    assert store_changed(f"STEP 1/2: FROM x\n{tail}")


@pytest.mark.parametrize("tail", OWN_FAULT)
def test_own_fault(tail: str) -> None:
    assert not store_changed(tail)


def failing_podman(folder: Path, *, failures: int, message: str) -> Podman:
    """One whose first builds fail with a message; `folder/calls` counts them."""
    script = folder / "podman"
    script.write_text(
        f"#!/bin/sh\necho build >> {folder}/calls\n"
        f"[ $(wc -l < {folder}/calls) -gt {failures} ] && exit 0\necho '{message}'\nexit 125\n"
    )
    script.chmod(0o700)
    return Podman(
        argv=(str(script),), env={"PATH": "/usr/bin:/bin"}, runtime="crun", rootless=False, limits_enforced=True,
        state_dir=folder, ulimits=(), init_program=None, seccomp_profile=folder / "seccomp.json",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("failures", "message", "calls", "succeeds"),
    [
        (2, DISTURBED[0], 3, True),
        (99, DISTURBED[0], 5, False),
        (99, OWN_FAULT[2].replace('"', ""), 1, False),
    ],
)
async def test_tries(tmp_path: Path, failures: int, message: str, calls: int, succeeds: bool) -> None:
    podman = failing_podman(tmp_path, failures=failures, message=message)
    if succeeds:
        await podman_build(podman, [], timeout_seconds=60)
    else:
        with pytest.raises(BuildFailed) as caught:
            await podman_build(podman, [], timeout_seconds=60)
        assert caught.value.tail == message
    assert (tmp_path / "calls").read_text().count("build") == calls
