"""Rootless is the product: what the other modules show must hold for an ordinary user as well."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from airut_sandbox.base_image import ensure_base_archive
from airut_sandbox.testing.containers import base_image_cache
from airut_sandbox.testing.unprivileged import UnprivilegedUser, unprivileged_user

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

TESTS = Path(__file__).parent
CHECKOUT = TESTS.parents[2]
MODULES = (
    "test_podman.py",
    "test_container.py",
    "test_confinement.py",
    "test_attach.py",
    "test_disk_limit.py",
    "test_hostile_files.py",
    "test_hostile_processes.py",
)


def _share_base_image(user: UnprivilegedUser) -> None:
    """Building it takes most of a minute, and the archive is the same for everybody."""
    archive = asyncio.run(ensure_base_archive(base_image_cache()))
    target = user.home / ".cache" / "airut" / "base-image"
    for folder in (target.parents[1], target.parent, target):
        folder.mkdir(exist_ok=True)
        os.chown(folder, user.uid, user.gid)
    shutil.copyfile(archive, target / archive.name)
    os.chown(target / archive.name, user.uid, user.gid)


def test_everything_as_an_unprivileged_user() -> None:
    """Acceptance 4. Started by an ordinary user, all tests here are rootless already."""
    if os.geteuid() != 0:
        return
    with unprivileged_user(CHECKOUT) as user:
        _share_base_image(user)
        argv = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            str(CHECKOUT / "pyproject.toml"),
        ]
        argv += [
            f"--rootdir={CHECKOUT}",
            f"--basetemp={user.home}/tmp/pytest",
            *(str(TESTS / name) for name in MODULES),
        ]
        done = user.run(argv, timeout_seconds=800)
    assert done.returncode == 0, done.stdout.decode()[-6000:] + done.stderr.decode()[-2000:]
    assert " passed" in done.stdout.decode()
    assert "skipped" not in done.stdout.decode()
