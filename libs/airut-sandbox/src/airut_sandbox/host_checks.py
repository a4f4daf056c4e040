"""Can this host run sandboxes? Each finding comes with its remedy. What can be tried is tried: versions only warn."""

import os
import platform
import pwd
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from airut_common import processes
from airut_common.processes import ProcessError

from . import podman_config
from .attach_helper import rules
from .errors import PodmanUnusable
from .podman import Podman, probe_podman
from .seccomp import ARCHITECTURES

_SECONDS: Final = 20.0
#: Images and users of a distribution commonly need ids up to this number.
_WANTED_IDS: Final = 65536
#: First versions without the known ways in which an image or a program inside gets around its confinement (field
#: notes, section 7). Distributions repair older ones without changing the number, so this is a warning.
_PODMAN_FLOORS: Final = ((5, 8, 10), (6, 2, 0))

_INSTALL: Final[Mapping[str, str]] = {
    "podman": "podman",
    "ip": "iproute2",
    "nft": "nftables",
    "git": "git",
    "newuidmap": "uidmap",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""


async def check_host(state_dir: Path, *, runtime: str | None) -> list[Finding]:
    """Everything a sandbox needs of this host. Probe files go to `state_dir`."""
    rootless = os.geteuid() != 0
    findings = [account(rootless=rootless), architecture(platform.machine())]
    findings.append(core_pattern(Path("/proc/sys/kernel/core_pattern").read_text()))
    findings += [await _program("ip", "-V"), await _program("git", "--version")]
    if rootless:
        findings += [await _user_namespaces(), _subordinate_ids(), _runtime_folder()]
    findings.append(await _nftables(rootless=rootless))
    try:
        podman = await probe_podman(state_dir, runtime=runtime)
    except (PodmanUnusable, OSError) as error:
        return [*findings, Finding("podman", "fail", str(error), _podman_remedy())]
    version = await _podman_version(podman)
    detail = (
        f"podman {version} starts containers with {podman.runtime}, {'rootless' if rootless else 'as root'}"
    )
    findings.append(Finding("podman", "ok", detail))
    findings += podman_version(version)
    return [
        *findings,
        limits(podman.limits_enforced, _cgroup_version(), rootless),
        init_program(podman.init_program),
    ]


def account(*, rootless: bool) -> Finding:
    """Who runs this."""
    if rootless:
        return Finding("account", "ok", "an ordinary user: sandboxes are rootless")
    return Finding(
        "account",
        "warn",
        "this is root: a way out of a sandbox would be root on this host",
        "run Airut as a user of its own, for example: useradd --create-home airut",
    )


def architecture(machine: str) -> Finding:
    """Whether the seccomp profile knows this processor."""
    if machine in ARCHITECTURES:
        return Finding("architecture", "ok", machine)
    return Finding(
        "architecture", "fail", f"{machine} is not supported", f"use one of {', '.join(ARCHITECTURES)}"
    )


def core_pattern(text: str) -> Finding:
    """Whether a crash inside a sandbox starts a program of the host. A hostile process can set its own limit so that
    it does, and chooses what that program, which runs as root, gets to read."""
    if text.startswith("|"):
        return Finding(
            "core dumps",
            "warn",
            f"a crash, in a sandbox too, starts {text[1:].split(maxsplit=1)[0]} on the host, as root",
            "sysctl kernel.core_pattern=core",
        )
    return Finding("core dumps", "ok", "no program of the host is started for them")


def podman_version(version: str) -> Iterable[Finding]:
    """A warning about versions with known weaknesses."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    floor = next((floor for floor in _PODMAN_FLOORS if numbers[:1] <= floor[:1]), _PODMAN_FLOORS[-1])
    if numbers < floor:
        wanted = " or ".join(".".join(map(str, floor)) for floor in _PODMAN_FLOORS)
        yield Finding(
            "podman version",
            "warn",
            f"{version} has published weaknesses unless your distribution repaired them; "
            "every sandbox is compared with what the kernel really gave it, whatever the version",
            f"prefer {wanted} or newer",
        )


def limits(enforced: bool, cgroup_version: int, rootless: bool) -> Finding:  # noqa: FBT001 - three facts, in order
    """Whether memory, CPU and process limits hold."""
    if enforced:
        return Finding(
            "limits", "ok", f"cgroup v{cgroup_version}: memory, CPU and process limits are enforced"
        )
    remedy = "delegate the controllers memory, pids and cpu to this user (systemd: Delegate=yes)"
    if cgroup_version == 1 and rootless:
        remedy = "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1)"
    return Finding(
        "limits",
        "warn",
        f"cgroup v{cgroup_version}: memory, CPU and process limits cannot be enforced here; time limits are",
        remedy,
    )


def init_program(path: Path | None) -> Finding:
    """Whether somebody reaps orphans inside."""
    if path is not None:
        return Finding("init", "ok", str(path))
    return Finding(
        "init",
        "warn",
        "catatonit is missing: processes that an agent leaves behind stay as zombies until its task ends",
        "apt-get install catatonit",
    )


def subordinate_ids(text: str, name: str, uid: int) -> int:
    """How many ids `/etc/subuid` or `/etc/subgid` give to a user."""
    total = 0
    for line in text.splitlines():
        owner, _, rest = line.partition(":")
        count = rest.partition(":")[2].strip()
        if owner in {name, str(uid)} and count.isdigit():
            total += int(count)
    return total


def _subordinate_ids() -> Finding:
    uid = os.geteuid()
    name = pwd.getpwuid(uid).pw_name
    if shutil.which("newuidmap") is None:
        return Finding(
            "subordinate ids",
            "fail",
            "newuidmap is not installed",
            f"apt-get install {_INSTALL['newuidmap']}",
        )
    for file in ("/etc/subuid", "/etc/subgid"):
        path = Path(file)
        count = subordinate_ids(path.read_text(), name, uid) if path.exists() else 0
        if count < _WANTED_IDS:
            return Finding(
                "subordinate ids",
                "fail",
                f"{file} gives {name} {count} ids, and {_WANTED_IDS} are needed",
                f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name} (as root), "
                "then: podman system migrate",
            )
    return Finding("subordinate ids", "ok", f"at least {_WANTED_IDS} for {name}")


def _runtime_folder() -> Finding:
    uid = os.geteuid()
    candidates = podman_config.runtime_dir_candidates(os.environ, uid)
    for folder in candidates[:-1]:
        if podman_config.is_private(folder, uid):
            return Finding("runtime folder", "ok", str(folder))
    return Finding(
        "runtime folder",
        "warn",
        f"there is no private XDG_RUNTIME_DIR; {candidates[-1]} is used",
        f"loginctl enable-linger {pwd.getpwuid(uid).pw_name}",
    )


async def _user_namespaces() -> Finding:
    problem = await _problem("unshare", "--user", "--map-root-user", "--net", "true")
    if problem is None:
        return Finding("user namespaces", "ok", "an ordinary user may make them")
    return Finding(
        "user namespaces",
        "fail",
        f"an ordinary user cannot make them: {problem}",
        "sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1; on Ubuntu also "
        "kernel.apparmor_restrict_unprivileged_userns=0",
    )


async def _nftables(*, rootless: bool) -> Finding:
    """Load the very rules that a sandbox gets, in a network namespace that is thrown away."""
    if shutil.which("nft", path=_search_path()) is None:
        return Finding("nftables", "fail", "nft is not installed", f"apt-get install {_INSTALL['nft']}")
    own = ("--user", "--map-root-user") if rootless else ()
    problem = await _problem("unshare", *own, "--net", "nft", "-f", "-", stdin=rules())
    if problem is None:
        return Finding("nftables", "ok", "the rules of a sandbox can be loaded")
    return Finding(
        "nftables",
        "fail",
        f"the rules of a sandbox cannot be loaded: {problem}",
        "as root: modprobe -a nf_tables nft_chain_nat nft_redir nft_reject_inet nft_ct, and make it permanent in "
        "/etc/modules-load.d/airut.conf",
    )


async def _program(name: str, version_option: str) -> Finding:
    remedy = f"apt-get install {_INSTALL[name]}"
    if shutil.which(name, path=_search_path()) is None:
        return Finding(name, "fail", f"{name} is not installed", remedy)
    try:
        done = await processes.run(
            [name, version_option], timeout_seconds=_SECONDS, env={"PATH": _search_path()}
        )
    except ProcessError as error:
        return Finding(name, "fail", str(error), remedy)
    return Finding(name, "ok", done.stdout.decode("utf-8", "replace").strip().splitlines()[0])


async def _problem(*argv: str, stdin: bytes | None = None) -> str | None:
    """None when the command succeeds, or what it complained of."""
    try:
        await processes.run(argv, timeout_seconds=_SECONDS, stdin=stdin, env={"PATH": _search_path()})
    except ProcessError as error:
        return " ".join(str(error).split())
    return None


async def _podman_version(podman: Podman) -> str:
    done = await podman.run("version", "--format", "{{.Client.Version}}", check=False)
    return done.stdout.decode("utf-8", "replace").strip() or "of unknown version"


def _podman_remedy() -> str:
    if shutil.which("podman") is None:
        return f"apt-get install {_INSTALL['podman']}"
    return "the messages above are Podman's own; `podman run --rm --network=none IMAGE true` has to work for this user"


def _cgroup_version() -> int:
    return 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1


def _search_path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
