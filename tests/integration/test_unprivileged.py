"""The whole path as a user without rights, with rootless Podman (acceptance 4)."""

import sys
from pathlib import Path

import pytest

from airut_sandbox.testing.unprivileged import unprivileged_user

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

SECONDS = 400
ROOT = Path(__file__).parents[2]
CHECKED = (
    "the reply is in the same thread",
    "what the agent left in /outbox is attached",
    "a mail that only claims to be Ada's is refused",
    "exfil.demo.example was refused",
    "no real value is in what the agent saw",
)


def test_the_demo_runs_without_any_right() -> None:
    with unprivileged_user(ROOT) as user:
        folder = user.home / "demo"
        command = f"mkdir -p {folder} && cd {folder} && exec {sys.executable} -m airut_demo"
        done = user.run(["sh", "-c", command], timeout_seconds=SECONDS, env={"DEMO_EXIT": "1"})
        told = done.stdout.decode()
        assert done.returncode == 0, told[-5000:] + done.stderr.decode()[-3000:]
        for text in CHECKED:
            assert f"✓  {text}" in told
        log = (folder / ".airut-demo" / "up.log").read_text()
        assert "running as root" not in log
