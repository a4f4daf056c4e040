import errno

import pytest

from airut_common.bus import BusUnavailable
from airut_orchestrator.failures import TaskFailure, explain, fenced
from airut_sandbox.agent_binary import AgentUnavailable
from airut_sandbox.errors import AttachFailed, SandboxError, SandboxRefused
from airut_sandbox.image import DockerfileRefused, ImageBuildFailed, ImageRefused
from airut_sandbox.mirror_errors import MirrorError

CASES = [
    (TaskFailure("short", "long", "stopped"), "stopped", "short", ["long"]),
    (MirrorError("unreachable", "git.example: the host name is unknown"), "failed", "repository", ["git.example"]),
    (ImageBuildFailed("building failed", "step 3\n```\n\x1b[31mboom"), "failed", "image", ["'''\n[31mboom"]),
    (ImageRefused("an annotation"), "refused", "image", ["annotation"]),
    (DockerfileRefused("ONBUILD is not supported"), "refused", "image: ONBUILD", ["Mend it on the default branch"]),
    (AgentUnavailable("no such version"), "failed", "agent", ["no such version"]),
    (AttachFailed("no nft"), "failed", "network: no nft", ["nothing runs without it"]),
    (SandboxRefused("CapEff differs"), "failed", "sandbox refused: CapEff", ["not confined"]),
    (SandboxError("podman"), "failed", "sandbox", ["podman"]),
    (BusUnavailable("x"), "failed", "bus", ["did not answer"]),
    (OSError(errno.ENOSPC, "no"), "refused", "the disk is full", ["disk of Airut's host is full"]),
    (OSError(errno.EDQUOT, "no"), "refused", "the disk is full", ["disk of Airut's host is full"]),
    (ZeroDivisionError("secret detail"), "failed", "internal error: ZeroDivisionError", ["Airut itself failed"]),
]  # fmt: skip


@pytest.mark.parametrize(("error", "outcome", "reason", "words"), CASES)
def test_each_failure_in_words(error: Exception, outcome: str, reason: str, words: list[str]) -> None:
    found = explain(error)
    assert (found.outcome, found.reason.startswith(reason)) == (outcome, True)
    for word in words:
        assert word in found.text
    assert "\n" not in found.reason
    assert "Traceback" not in found.text
    assert "secret detail" not in found.text
    assert found.is_bug == isinstance(error, ZeroDivisionError)


def test_what_had_begun_is_not_called_nothing() -> None:
    assert "Nothing was run" in explain(SandboxError("x")).text
    assert "Nothing was run" not in explain(SandboxError("x"), begun=True).text
    assert explain(OSError(errno.ENOSPC, "no"), begun=True).outcome == "failed"


def test_a_block_cannot_be_left_from_inside() -> None:
    assert fenced("a\n```\n# b\x1b[0m\x07") == "a\n'''\n# b[0m"
