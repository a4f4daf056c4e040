"""Field-notes rows 40 and 65: what git is told on the host."""

import time
from pathlib import Path

import pytest

from airut_common.secrets import Secret
from airut_sandbox.git import Git, GitFailed, GitTimedOut, basic_authorization


def test_row_40_the_environment_is_ours_alone() -> None:
    inherited = {
        "PATH": "/bin",
        "HOME": "/root",
        "GIT_DIR": "/elsewhere",
        "GIT_SSH_COMMAND": "evil",
        "GIT_SSL_NO_VERIFY": "1",
        "GIT_CONFIG_PARAMETERS": "'a.b=c'",
        "GIT_TRACE_CURL": "/tmp/x",
        "LD_PRELOAD": "evil.so",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }
    environment = Git().environment(inherited)
    kept = {name: value for name, value in environment.items() if inherited.get(name) == value}
    assert kept == {"PATH": "/bin", "HTTPS_PROXY": "http://proxy.example:3128"}
    assert environment["GIT_ALLOW_PROTOCOL"] == "none"
    assert environment["GIT_CONFIG_GLOBAL"] == "/dev/null"
    count = int(environment["GIT_CONFIG_COUNT"])
    settings = {
        environment[f"GIT_CONFIG_KEY_{n}"]: environment[f"GIT_CONFIG_VALUE_{n}"] for n in range(count)
    }
    assert settings["core.hooksPath"] == "/dev/null"
    assert settings["core.fsmonitor"] == "false"
    assert settings["http.sslVerify"] == "true"
    assert settings["transfer.fsckObjects"] == "true"


async def test_row_40_no_transport_unless_named(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match="transport 'file' not allowed"):
        await Git().run("ls-remote", str(tmp_path), timeout_seconds=10)
    with pytest.raises(GitFailed, match="transport 'ext' not allowed"):
        await Git(protocols=("https",)).run("ls-remote", f"ext::touch {tmp_path}/x", timeout_seconds=10)
    assert list(tmp_path.iterdir()) == []


async def test_secrets_are_cut_from_errors() -> None:
    token = Secret("s3cret-value")
    header = basic_authorization("x", token)
    assert header == "Basic eDpzM2NyZXQtdmFsdWU="
    with pytest.raises(GitFailed) as caught:
        await Git(hidden=("s3cret-value", header)).run("no-such-s3cret-value", timeout_seconds=10)
    assert "s3cret-value" not in caught.value.stderr + str(caught.value)


async def test_row_65_a_deadline_holds(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(GitTimedOut):
        await Git().run("-c", "alias.wait=!sleep 60", "wait", timeout_seconds=0.5, cwd=tmp_path)
    assert time.monotonic() - began < 10
