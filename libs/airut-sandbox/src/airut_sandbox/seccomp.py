"""The system calls a sandbox may make: an allow-list of our own, shipped as `seccomp.json` (field notes 10).

Nothing is taken from Podman's default profile at run time, whose rules differ between versions. What is not
listed answers ENOSYS, so that programs fall back; what is dangerous by name answers EPERM. Only the native
architecture is listed: 32-bit and x32 entry points, `socketcall` among them, kill the caller. Socket families
are an allow-list too, because two deny conditions on one argument do not compose in libseccomp.
"""

import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from airut_common.private_file import replace_private

PROFILE: Final = Path(__file__).with_name("seccomp.json")

ARCHITECTURES: Final = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

Rule = tuple[str, str, int | None, frozenset[tuple[int, int, int, str]]]
"""System call, action, errno, and its conditions (argument index, value, second value, operator)."""


def install_profile(folder: Path) -> Path:
    """Write the profile into `folder`, where rootless Podman can read it; answers its path. Whoever reads it meanwhile
    finds all of it."""
    target = folder / "seccomp.json"
    replace_private(target, PROFILE.read_bytes())
    return target


def expected_rules() -> frozenset[Rule]:
    """The profile as a set of single rules."""
    return flatten(json.loads(PROFILE.read_bytes())["syscalls"])


def flatten(syscalls: Iterable[Mapping[str, Any]]) -> frozenset[Rule]:
    """Rules of a profile, or of the `linux.seccomp` part of an OCI configuration, in comparable form."""
    return frozenset(
        (name, rule["action"], rule.get("errnoRet"), _conditions(rule.get("args") or ()))
        for rule in syscalls
        for name in rule["names"]
    )


def _conditions(args: Iterable[Mapping[str, Any]]) -> frozenset[tuple[int, int, int, str]]:
    return frozenset((arg["index"], arg["value"], arg.get("valueTwo", 0), arg["op"]) for arg in args)


def profile_differences(applied: Mapping[str, Any] | None) -> list[str]:
    """What differs between our profile and `linux.seccomp` of the OCI configuration the runtime was given."""
    if not applied:
        return ["seccomp: the runtime was given no profile"]
    found: list[str] = []
    default = (applied.get("defaultAction"), applied.get("defaultErrnoRet"))
    if default != ("SCMP_ACT_ERRNO", 38):
        found.append(f"seccomp: the default action is {default[0]} {default[1]}")
    native = ARCHITECTURES.get(platform.machine())
    if native is None or applied.get("architectures") != [native]:
        found.append(f"seccomp: architectures are {applied.get('architectures')}, not only {native}")
    if applied.get("flags") or applied.get("listenerPath"):
        found.append("seccomp: flags or a listener were added")
    if flatten(applied.get("syscalls") or ()) != expected_rules():
        found.append("seccomp: the rules are not ours")
    return found
