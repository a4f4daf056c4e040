import gzip
from pathlib import Path

import pytest

from airut.errors import UsageError
from airut.installation import open_installation
from airut.task_log import read_log


@pytest.fixture
def installation(tmp_path: Path):
    (tmp_path / "airut.yaml").write_text("state_dir: state\n")
    return open_installation(tmp_path / "airut.yaml")


def put(installation, name: str, data: bytes) -> None:
    path = installation.service_state("orchestrator") / "logs" / "conversation" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def test_earlier_tries_come_first_and_nothing_steers_the_terminal(installation) -> None:
    put(installation, "abc.2.log", b"second \x1b[2J\xe2\x80\xae\n")
    put(installation, "abc.1.log.gz", b"first\n")
    put(installation, "other.1.log", b"not this\n")
    assert list(read_log(installation, "abc")) == ["first", r"second \x1b[2J\x202e"]


@pytest.mark.parametrize("task", ["nobody", "../../airut", "*", ""])
def test_a_task_without_a_log_is_an_error_and_no_path(installation, task: str) -> None:
    put(installation, "abc.1.log", b"x")
    with pytest.raises(UsageError, match="no log of such a task"):
        read_log(installation, task)
