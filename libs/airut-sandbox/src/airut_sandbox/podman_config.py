"""The configuration that we give to Podman in place of the host's, as text and environment. No effects."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

#: Beyond these no agent needs more, and a fork bomb where cgroups cannot be used ends here.
MAX_OPEN_FILES: Final = 65536
MAX_PROCESSES: Final = 4096

#: All that Podman gets of our environment. Not there, on purpose: `CONTAINER*`, which would redirect it to
#: another host or configuration; `NOTIFY_SOCKET` and `LISTEN_*`, which it would hand to containers (field
#: notes 9); and whatever else a service was given that is nobody's business.
_KEPT: Final = frozenset(
    {
        *("PATH", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "DBUS_SESSION_BUS_ADDRESS"),
        *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    }
)


def ulimits(hard_open_files: int, hard_processes: int) -> tuple[str, ...]:
    """`--ulimit` values within our own hard limits, which nobody unprivileged can raise. -1 is unlimited.

    No core files: one byte is too little for a file, and the only value for which the kernel does not start the
    program that `core_pattern` may name, outside of every sandbox (core(5) says that 0 does not stop it).
    """
    files = _at_most(hard_open_files, MAX_OPEN_FILES)
    processes = _at_most(hard_processes, MAX_PROCESSES)
    return (f"nofile={files}:{files}", f"nproc={processes}:{processes}", "core=1:1")


def _at_most(hard: int, ours: int) -> int:
    return ours if hard < 0 else min(hard, ours)


def containers_conf(limits: tuple[str, ...], hooks_dir: Path, runtime: str | None, init: Path | None) -> str:
    """Text of `containers.conf`. It replaces the host's, so no volume, hook or variable comes from there."""
    quoted = ", ".join(f'"{limit}"' for limit in limits)
    lines = [
        "[containers]",
        f"default_ulimits = [{quoted}]",
        "[engine]",
        'events_logger = "none"',
        f'hooks_dir = ["{hooks_dir}"]',
    ]
    if init is not None:
        lines.insert(2, f'init_path = "{init}"')
    if runtime is not None:
        lines.append(f'runtime = "{runtime}"')
    return "\n".join(lines) + "\n"


def storage_conf(data_home: Path, runtime_dir: Path) -> str:
    """Text of a rootless `storage.conf`: the kernel's own overlay at Podman's usual places. Without it, older
    versions fall back to `vfs`, which copies the whole image for every container."""
    return (
        f'[storage]\ndriver = "overlay"\ngraphroot = "{data_home}/containers/storage"\n'
        f'runroot = "{runtime_dir}/containers"\n'
    )


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of our environment that Podman needs."""
    return {name: value for name, value in environ.items() if name in _KEPT}


def runtime_dir_candidates(environ: Mapping[str, str], uid: int) -> tuple[Path, ...]:
    """Where a user's sockets and locks may live, best first. The last one is Podman's own fallback."""
    named = environ.get("XDG_RUNTIME_DIR", "")
    first = (Path(named),) if named.startswith("/") else ()
    return (*first, Path(f"/run/user/{uid}"), Path(f"/tmp/podman-run-{uid}"))  # noqa: S108 - checked by is_private


def is_private(folder: Path, uid: int) -> bool:
    """Whether it is a real folder that only `uid` may enter."""
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == uid and not facts.st_mode & 0o077


def find_init(path: str | None = None) -> Path | None:
    """The `catatonit` that Podman's `--init` uses, or None."""
    folders = ["/usr/libexec/podman", "/usr/local/libexec/podman", "/usr/lib/podman", "/usr/local/lib/podman"]
    folders += (path if path is not None else os.environ.get("PATH", "")).split(":")
    for folder in folders:
        if folder and os.access(candidate := Path(folder, "catatonit"), os.X_OK):
            return candidate
    return None
