"""The profile as a text, and what tells it from another. Field-notes row 10; `test_confinement` asks the kernel."""

import copy
import errno
import json
import platform
import socket
from pathlib import Path
from typing import Any

import pytest

from airut_sandbox.seccomp import ARCHITECTURES, PROFILE, expected_rules, install_profile, profile_differences

NEW_NAMESPACES = 0x7E020000


def _profile() -> dict[str, Any]:
    return json.loads(PROFILE.read_text())


def _allowed() -> set[str]:
    return {
        name
        for rule in _profile()["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW"
        for name in rule["names"]
    }


def _applied() -> dict[str, Any]:
    """The part of an OCI configuration that Podman makes of it."""
    profile = _profile()
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [ARCHITECTURES[platform.machine()]],
        "syscalls": profile["syscalls"],
    }


def test_everything_that_is_not_listed_is_refused() -> None:
    profile = _profile()
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert all(entry["subArchitectures"] == [] for entry in profile["archMap"])


@pytest.mark.parametrize(
    "name",
    [
        "socketcall",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "bpf",
        "userfaultfd",
        "keyctl",
        "add_key",
        "request_key",
        "unshare",
        "setns",
        "clone3",
        "mount",
        "umount2",
        "pivot_root",
        "fsopen",
        "fsmount",
        "move_mount",
        "open_tree",
        "mount_setattr",
        "chroot",
        "perf_event_open",
        "kexec_load",
        "init_module",
        "finit_module",
        "open_by_handle_at",
        "modify_ldt",
        "iopl",
        "ioperm",
        "syslog",
        "process_madvise",
        "fanotify_init",
        "quotactl",
        "memfd_secret",
        "vmsplice",
        "sethostname",
        "reboot",
        "swapon",
        "acct",
        "uselib",
        "lookup_dcookie",
        "kcmp",
        "move_pages",
        "mbind",
    ],
)
def test_dangerous_calls_are_not_allowed(name: str) -> None:
    assert name not in _allowed()


def test_conditional_calls_are_never_allowed_without_their_condition() -> None:
    for rule in _profile()["syscalls"]:
        if rule["action"] == "SCMP_ACT_ALLOW" and {"socket", "socketpair", "clone", "personality"} & set(
            rule["names"]
        ):
            assert rule.get("args"), rule


def test_families_are_an_allow_list_of_equalities() -> None:
    """Two deny conditions on one argument do not compose (moby/profiles#20)."""
    families = set()
    for rule in _profile()["syscalls"]:
        if rule["names"] == ["socket"]:
            first = next(arg for arg in rule["args"] if arg["index"] == 0)
            assert first["op"] == "SCMP_CMP_EQ"
            families.add(first["value"])
    assert families == {1, 2, 10, 16}


def test_clone_masks_every_namespace_flag() -> None:
    (rule,) = [rule for rule in _profile()["syscalls"] if rule["names"] == ["clone"]]
    assert rule["args"] == [{"index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]


def test_no_call_is_listed_twice_with_different_actions() -> None:
    refused = {
        name
        for rule in _profile()["syscalls"]
        if rule["action"] != "SCMP_ACT_ALLOW"
        for name in rule["names"]
        if not rule.get("args")
    }
    assert not refused & _allowed()


def test_the_audit_of_the_kernel_answers_as_if_there_were_none() -> None:
    """Row 77: `useradd`, and with it many a package, gives up on any other answer than one of three."""
    (rule,) = [
        rule for rule in _profile()["syscalls"] if rule["action"] != "SCMP_ACT_ALLOW" and rule.get("args")
    ]
    assert (rule["names"], rule["errnoRet"]) == (["socket"], errno.EPROTONOSUPPORT)
    assert [(arg["index"], arg["value"], arg["op"]) for arg in rule["args"]] == [
        (0, socket.AF_NETLINK, "SCMP_CMP_EQ"),
        (2, 9, "SCMP_CMP_EQ"),
    ]


def test_installed_as_it_is(tmp_path: Path) -> None:
    assert install_profile(tmp_path).read_bytes() == PROFILE.read_bytes()


def test_ours_is_recognised() -> None:
    assert profile_differences(_applied()) == []
    assert len(expected_rules()) > 300


@pytest.mark.parametrize("applied", [None, {}])
def test_no_profile_is_a_difference(applied: dict[str, Any] | None) -> None:
    assert profile_differences(applied)


def _with(**changes: Any) -> dict[str, Any]:
    return _applied() | changes


def _with_rule(rule: dict[str, Any]) -> dict[str, Any]:
    applied = _applied()
    return applied | {"syscalls": [*applied["syscalls"], rule]}


def _without_condition() -> dict[str, Any]:
    applied = copy.deepcopy(_applied())
    for rule in applied["syscalls"]:
        if rule["names"] == ["clone"]:
            rule["args"] = []
    return applied


@pytest.mark.parametrize(
    "applied",
    [
        _with(defaultAction="SCMP_ACT_ALLOW"),
        _with(defaultErrnoRet=1),
        _with(architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        _with(architectures=[]),
        _with(flags=["SECCOMP_FILTER_FLAG_LOG"]),
        _with(listenerPath="/run/listener"),
        _with(syscalls=[]),
        _with_rule({"names": ["bpf"], "action": "SCMP_ACT_ALLOW"}),
        _with_rule({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": None}),
        _without_condition(),
    ],
)
def test_any_other_profile_is_a_difference(applied: dict[str, Any]) -> None:
    assert profile_differences(applied)
