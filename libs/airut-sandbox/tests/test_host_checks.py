"""What `airut check` says about a host. The pure decisions, and one look at this host."""

from pathlib import Path

import pytest

from airut_sandbox.host_checks import (
    Finding,
    account,
    architecture,
    check_host,
    core_pattern,
    init_program,
    limits,
    podman_version,
    subordinate_ids,
)


def test_root_is_warned_of() -> None:
    assert account(rootless=True).status == "ok"
    finding = account(rootless=False)
    assert finding.status == "warn"
    assert "useradd" in finding.remedy


def test_processors() -> None:
    assert architecture("x86_64").status == "ok"
    assert architecture("aarch64").status == "ok"
    assert architecture("riscv64").status == "fail"


def test_a_crash_that_starts_a_program_is_warned_of() -> None:
    assert core_pattern("core\n").status == "ok"
    finding = core_pattern("|/usr/share/apport/apport -p%p\n")
    assert finding.status == "warn"
    assert "/usr/share/apport/apport on the host" in finding.detail


@pytest.mark.parametrize("version", ["5.8.10", "5.9.0", "6.2.0", "6.3.1", "7.0.0", "5.8.10-rhel"])
def test_current_versions_pass(version: str) -> None:
    assert list(podman_version(version)) == []


@pytest.mark.parametrize("version", ["4.3.1", "5.8.9", "6.0.0", "6.1.9", "of unknown version", ""])
def test_old_and_unknown_versions_warn_and_do_not_fail(version: str) -> None:
    (finding,) = podman_version(version)
    assert finding.status == "warn"


@pytest.mark.parametrize(("enforced", "version", "rootless", "word"), [
    (True, 2, True, ""),
    (False, 1, True, "cgroup v2"),
    (False, 2, True, "Delegate"),
])  # fmt: skip
def test_limits_are_never_claimed(enforced: bool, version: int, rootless: bool, word: str) -> None:
    finding = limits(enforced, version, rootless)
    assert (finding.status == "ok") is enforced
    assert word in finding.remedy


def test_a_missing_init_program() -> None:
    assert init_program(Path("/x")).status == "ok"
    assert init_program(None).status == "warn"


def test_subordinate_ids_are_added_up() -> None:
    text = (
        "root:100000:65536\nada:165536:65536\n1001:300000:10\nada:400000:5\nadam:500000:7\nbroken\nada:x:y\n"
    )
    assert subordinate_ids(text, "ada", 1001) == 65536 + 10 + 5
    assert subordinate_ids(text, "nobody", 65534) == 0


@pytest.mark.integration
async def test_this_host_can_run_sandboxes(tmp_path: Path) -> None:
    findings = await check_host(tmp_path / "state", runtime=None)
    assert [finding for finding in findings if finding.status == "fail"] == []
    assert {"account", "architecture", "podman", "nftables", "ip", "git", "limits"} <= {
        one.name for one in findings
    }
    assert all(finding.remedy for finding in findings if finding.status != "ok")


@pytest.mark.integration
async def test_a_missing_program_comes_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {finding.name: finding for finding in await check_host(tmp_path / "state", runtime=None)}
    assert found["podman"] == Finding(
        "podman",
        "fail",
        "podman is not installed; install it, for example with: apt-get install podman",
        "apt-get install podman",
    )
