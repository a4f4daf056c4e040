"""The throwaway user that other tests rely on: really without rights, and really gone."""

import os
import pwd
import sys
from pathlib import Path

import pytest

from airut_sandbox.testing.unprivileged import unprivileged_user

pytestmark = pytest.mark.integration
CHECKOUT = Path(__file__).parents[3]


def test_without_rights_but_with_this_interpreter() -> None:
    program = (
        "import os, airut_sandbox; print(os.geteuid(), os.getgroups(), os.access('/etc/shadow', os.R_OK))"
    )
    with unprivileged_user(CHECKOUT) as user:
        done = user.run([sys.executable, "-c", program], timeout_seconds=60)
        assert done.returncode == 0, done.stderr
        if os.geteuid() == 0:
            assert done.stdout.decode().strip() == f"{user.uid} [] False"
            closed = user.run(["ls", "/root/.bashrc"], timeout_seconds=60)
            assert closed.returncode != 0


def test_our_environment_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRUT_CANARY", "1")
    with unprivileged_user() as user:
        done = user.run(["env"], timeout_seconds=60, env={"GIVEN": "2"})
    assert b"CANARY" not in done.stdout
    assert b"GIVEN=2" in done.stdout


def test_gone_afterwards() -> None:
    if os.geteuid() != 0:
        return  # nobody was made
    with unprivileged_user() as user:
        background = user.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"], timeout_seconds=60)
        left = Path("/proc", background.stdout.decode().strip())
        assert left.exists()
    with pytest.raises(KeyError):
        pwd.getpwnam(user.name)
    assert not user.home.exists()
    assert not left.exists() or "Z" in (left / "stat").read_text().rpartition(")")[2]
