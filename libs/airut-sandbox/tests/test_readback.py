"""What counts as less confined than asked, from facts that no kernel need be talked into. Field-notes rows 46, 47."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from airut_sandbox.readback import (
    CAPABILITY_MASK,
    Expected,
    ExpectedMount,
    Facts,
    MountFact,
    differences,
    expect_mount,
    parse_mount,
    read_facts,
)

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts", "user")


def _mount(target: str, fstype: str, root: str = "/", options: str = "ro") -> MountFact:
    return MountFact(target, root, fstype, frozenset(options.split(",")))


MOUNTS = (
    _mount("/", "overlay", options="rw"),
    _mount("/proc", "proc", options="rw,nosuid"),
    _mount("/dev", "tmpfs", options="rw"),
    _mount("/dev/pts", "devpts", options="rw"),
    _mount("/dev/shm", "tmpfs", options="rw"),
    _mount("/dev/null", "devtmpfs", root="/null", options="rw"),
    _mount("/sys", "sysfs"),
    _mount("/sys/fs/cgroup", "cgroup2"),
    _mount("/sys/firmware", "tmpfs"),
    _mount("/proc/kcore", "devtmpfs", root="/null"),
    _mount("/proc/keys", "tmpfs", root="/null", options="rw"),
    *(
        _mount(f"/proc/{name}", "proc", root=f"/{name}")
        for name in ("sys", "sysrq-trigger", "bus", "fs", "irq")
    ),
    _mount("/workspace", "ext4", root="/state/x", options="rw"),
    _mount("/opt/agent", "ext4", root="/state/agent"),
)
SHOWN = {"/workspace": (1, 10), "/opt/agent": (1, 11)}
GOOD = Facts(
    capabilities={"inh": 0, "prm": CAPABILITY_MASK, "eff": CAPABILITY_MASK, "bnd": CAPABILITY_MASK, "amb": 0},
    no_new_privileges=True,
    seccomp_mode=2,
    namespaces={name: number for number, name in enumerate(NAMESPACES, 100)},
    own_namespaces={name: number for number, name in enumerate(NAMESPACES, 1)},
    uid_map=((0, 1000, 1), (1, 100000, 65536)),
    mounts=MOUNTS,
    shown=SHOWN,
)
EXPECTED = Expected(
    (ExpectedMount("/workspace", False, (1, 10)), ExpectedMount("/opt/agent", True, (1, 11))),
    rootless=True,
    executed=False,
)


def _more(**kinds: int) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, capabilities={**facts.capabilities, **kinds})


def _same(*names: str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(
        facts, namespaces=dict(facts.namespaces) | {name: facts.own_namespaces[name] for name in names}
    )


def _mounted(*extra: MountFact, without: str = "") -> Callable[[Facts], Facts]:
    return lambda facts: replace(
        facts, mounts=(*(mount for mount in facts.mounts if mount.target != without), *extra)
    )


FALSIFIED: list[tuple[str, Callable[[Facts], Facts]]] = [
    ("bnd has 0x200000 too many", _more(bnd=CAPABILITY_MASK | 1 << 21)),
    ("eff has", _more(eff=1 << 12)),
    ("prm has", _more(prm=(1 << 41) - 1)),
    ("inh has", _more(inh=1 << 21)),
    ("amb has", _more(amb=1 << 13)),
    ("bnd has", lambda facts: replace(facts, capabilities={"prm": 0})),
    ("no-new-privileges", lambda facts: replace(facts, no_new_privileges=False)),
    ("seccomp: mode 1", lambda facts: replace(facts, seccomp_mode=1)),
    *((f"namespaces: {name} is the host's", _same(name)) for name in NAMESPACES),
    ("namespaces: net", lambda facts: replace(facts, namespaces={})),
    ("root inside is root outside", lambda facts: replace(facts, uid_map=((0, 0, 4294967295),))),
    ("no id is mapped", lambda facts: replace(facts, uid_map=())),
    ("/workspace is missing", _mounted(without="/workspace")),
    ("/opt/agent is writable", _mounted(_mount("/opt/agent", "ext4", options="rw"))),
    ("/workspace shows something else", lambda facts: replace(facts, shown={**SHOWN, "/workspace": (1, 99)})),
    ("/workspace shows something else", lambda facts: replace(facts, shown={})),
    ("/host (ext4) was not asked for", _mounted(_mount("/host", "ext4"))),
    ("/run/podman.sock (tmpfs)", _mounted(_mount("/run/podman.sock", "tmpfs", root="/podman.sock"))),
    ("/dev/sda (devtmpfs)", _mounted(_mount("/dev/sda", "devtmpfs", root="/sda"))),
    ("/dev/null (devtmpfs)", _mounted(_mount("/dev/null", "devtmpfs", root="/kmsg"))),
    ("/dev/null (ext4)", _mounted(_mount("/dev/null", "ext4", root="/etc/shadow"))),
    ("/proc (ext4)", _mounted(_mount("/proc", "ext4"))),
    ("/proc/sys/x (ext4)", _mounted(_mount("/proc/sys/x", "ext4"))),
    ("/sys/fs/cgroup/x (ext4)", _mounted(_mount("/sys/fs/cgroup/x", "ext4"))),
    ("/sys/kernel/debug (debugfs)", _mounted(_mount("/sys/kernel/debug", "debugfs"))),
    ("/ (ext4)", _mounted(_mount("/", "ext4", options="rw"))),
    ("/sys can be written", _mounted(_mount("/sys", "sysfs", options="rw"))),
    ("/proc/sys can be written", _mounted(without="/proc/sys")),
    ("/proc/sysrq-trigger can be written", _mounted(_mount("/proc/sysrq-trigger", "proc", options="rw"))),
    ("/proc/kcore can be read", _mounted(without="/proc/kcore")),
    ("/proc/keys can be read", _mounted(_mount("/proc/keys", "proc"))),
]


def test_as_asked_is_no_difference() -> None:
    assert differences(GOOD, EXPECTED) == []
    assert differences(GOOD, replace(EXPECTED, executed=True)) == []


@pytest.mark.parametrize(("reason", "falsify"), FALSIFIED)
def test_each_weakness_is_named(reason: str, falsify: Callable[[Facts], Facts]) -> None:
    assert any(reason in found for found in differences(falsify(GOOD), EXPECTED)), differences(
        falsify(GOOD), EXPECTED
    )


def test_fewer_capabilities_are_fine() -> None:
    assert differences(_more(prm=0, eff=0, bnd=0)(GOOD), EXPECTED) == []


def test_a_missing_filter_is_fatal_once_the_command_runs() -> None:
    facts = replace(GOOD, seccomp_mode=0)
    assert differences(facts, EXPECTED) == []
    assert differences(facts, replace(EXPECTED, executed=True)) == ["seccomp: mode 0, no filter is in force"]


def test_as_root_the_user_namespace_is_shared() -> None:
    facts = replace(_same("user")(GOOD), uid_map=((0, 0, 4294967295),))
    assert differences(facts, replace(EXPECTED, rootless=False)) == []


def test_a_running_command_may_rename_folders_on_the_way_to_a_mount() -> None:
    assert differences(replace(GOOD, shown={}), replace(EXPECTED, executed=True)) == []


def test_what_a_kernel_does_not_have_needs_no_mask() -> None:
    facts = replace(_mounted(without="/proc/kcore")(GOOD), missing_paths=frozenset({"/proc/kcore"}))
    assert differences(facts, EXPECTED) == []


def test_this_process_is_not_confined() -> None:
    facts = read_facts(os.getpid())
    found = differences(facts, Expected((), rootless=False, executed=True))
    assert len([line for line in found if line.startswith("namespaces")]) == 6
    assert any(line.startswith("mounts: / ") for line in found) or facts.mounts[0].fstype == "overlay"


def test_a_process_that_is_gone_is_an_error() -> None:
    with pytest.raises(OSError, match=r"No such file|No such process"):
        read_facts(2**22 + 1)


def test_mountinfo_lines() -> None:
    line = r"36 35 98:0 /with\040blank /mnt/back\134slash ro,noatime master:1 shared:2 - ext4 /dev/root rw,errors=x"
    mount = parse_mount(line)
    assert (mount.target, mount.root, mount.fstype) == (r"/mnt/back\slash", "/with blank", "ext4")
    assert mount.options == {"ro", "noatime"}


def test_an_expected_mount_is_known_by_its_inode(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert expect_mount(tmp_path, "/x", read_only=True) == expect_mount(
        tmp_path / "link", "/x", read_only=True
    )
    with pytest.raises(FileNotFoundError):
        expect_mount(tmp_path / "nothing", "/x", read_only=True)
