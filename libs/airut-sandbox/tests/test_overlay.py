"""The text of the overlay, checked with git itself."""

from pathlib import Path

import pytest

from airut_common.processes import run
from airut_sandbox.overlay import Overlay, git_config, overlay_files

REMOTES = {
    "https://git.demo.example": ("x-access-token", "GIT_TOKEN"),
    "https://other.example:8443": ('odd "user"\\', "OTHER_TOKEN"),
}


async def fill(config: Path, host: str, environment: dict[str, str]) -> dict[str, str]:
    done = await run(
        ["git", "credential", "fill"],
        stdin=f"protocol=https\nhost={host}\n\n".encode(),
        env={
            "PATH": "/usr/bin:/bin",
            "GIT_CONFIG_SYSTEM": str(config),
            "HOME": "/nonexistent",
            "GIT_TERMINAL_PROMPT": "0",
        }
        | environment,
        timeout_seconds=20,
        check=False,
    )
    return dict(line.split("=", 1) for line in done.stdout.decode().splitlines())


async def test_git_reads_the_surrogate_from_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "gitconfig"
    config.write_text(git_config(credential_variables=REMOTES, user_name='A "B" C', user_email="a@b.example"))
    environment = {"GIT_TOKEN": "$(id) surrogate'\"", "OTHER_TOKEN": "two"}
    first = await fill(config, "git.demo.example", environment)
    assert (first["username"], first["password"]) == ("x-access-token", "$(id) surrogate'\"")
    second = await fill(config, "other.example:8443", environment)
    assert (second["username"], second["password"]) == ('odd "user"\\', "two")
    assert "password" not in await fill(config, "elsewhere.example", environment)
    done = await run(["git", "config", "-f", str(config), "user.name"], timeout_seconds=20)
    assert done.stdout == b'A "B" C\n'


@pytest.mark.parametrize(
    ("host", "username", "variable"),
    [
        ("http://git.demo.example", "u", "T"),
        ('https://x"]\n[core]', "u", "T"),
        ("https://x.example", "u\nv", "T"),
        ("https://x.example", "u", "T$(id)"),
        ("https://x.example/path", "u", "T"),
    ],
)
def test_row_39_nothing_breaks_out(host: str, username: str, variable: str) -> None:
    with pytest.raises(ValueError):
        git_config(credential_variables={host: (username, variable)}, user_name="a", user_email="b")


def test_the_files() -> None:
    files = overlay_files(Overlay(b"PEM", "[user]\n"))
    assert files["ca.pem"] == b"PEM"
    assert files["gitconfig"] == b"[user]\n"
    assert set(files) == {"Containerfile", "ca.pem", "gitconfig", "trust.sh"}
