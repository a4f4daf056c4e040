"""What is asked for, and the words in which Podman is asked. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from airut_common.config.models import LimitsConfig

from .errors import SandboxError
from .podman import Podman
from .readback import CAPABILITIES

INSTALLATION_LABEL: Final = "airut.installation"
REPO_LABEL: Final = "airut.repo"
#: Only containers that we made carry this one: a label of an image is inherited by everybody's containers.
SANDBOX_LABEL: Final = "airut.sandbox"

KEEP_FREE_BYTES: Final = 1024 * 1024 * 1024
HOSTNAME: Final = "sandbox"
#: Nothing listens there: what is sent to port 53 of any address ends at the egress-proxy.
RESOLVER: Final = "198.18.0.1"
RESOLV_CONF: Final = f"nameserver {RESOLVER}\noptions timeout:2 attempts:2\n"
_HOSTS: Final = f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
#: What an image may not decide: where requests go, whose certificates count, and how our agent behaves.
_NOT_FROM_IMAGES = re.compile(
    r"(?i:(HTTPS?|ALL|NO|FTP)_PROXY)|(ANTHROPIC|CLAUDE|AIRUT|GIT)_\w*|LD_\w+|NODE_(OPTIONS|TLS_\w+|EXTRA_\w+)"
    r"|SSL_CERT_\w+|(REQUESTS|CURL|AWS)_CA_BUNDLE|IS_SANDBOX|DISABLE_\w+|BASH_ENV|ENV"
)


@dataclass(frozen=True)
class Mount:
    """A host folder or file shown inside. `source` must exist."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class SandboxSpec:
    """What is asked for. `labels` must hold `airut.installation`."""

    name: str
    image: str
    command: Sequence[str]
    labels: Mapping[str, str]
    workdir: str = "/workspace"
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    mounts: Sequence[Mount] = ()
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    resolv_conf: str = RESOLV_CONF
    keep_free_bytes: int = KEEP_FREE_BYTES
    """Of the host's disk: with less, the sandbox that has taken most is stopped."""
    takes_back_room: bool = False
    """Whether files that it wrote are removed then, until that much is free again: for folders that are ours."""
    may_clean_up: bool = False
    """Its folders hold more than the limits already: it may run all the same, and grow by a little."""


def check_spec(spec: SandboxSpec) -> None:
    """Refuse what Podman would misread.

    Raises:
        SandboxError: with the field that is wrong, never with a variable's value.
    """
    if not _NAME.fullmatch(spec.name):
        raise SandboxError(
            f"{spec.name!r} is not a sandbox name: lower-case letters, digits and dashes, at most 64"
        )
    if not spec.labels.get(INSTALLATION_LABEL):
        raise SandboxError(f"a sandbox needs the label {INSTALLATION_LABEL}")
    if not spec.command:
        raise SandboxError("a sandbox needs a command")
    for name, value in spec.environment.items():
        if not _VARIABLE.fullmatch(name):
            raise SandboxError(f"{name!r} is not the name of an environment variable")
        if any(character in value for character in "\r\n\0"):
            raise SandboxError(
                f"the environment variable {name} has a line break, which Podman cannot pass on"
            )
    for mount in spec.mounts:
        if not mount.target.startswith("/") or ".." in mount.target.split("/"):
            raise SandboxError(f"{mount.target!r} is not an absolute path inside the sandbox")


def own_files(spec: SandboxSpec) -> Mapping[str, str]:
    """Small files shown inside read-only, by target. Podman's own versions of them are writable files on the
    host's disk, and name the host's addresses."""
    return {
        "/etc/hosts": _HOSTS,
        "/etc/resolv.conf": spec.resolv_conf,
        "/etc/hostname": f"{HOSTNAME}\n",
        "/run/.containerenv": "",
    }


def env_file(environment: Mapping[str, str]) -> str:
    """Text for `--env-file`: values never stand in an argument list, which every user of the host can read."""
    return "".join(f"{name}={value}\n" for name, value in environment.items())


def to_unset(image_environment: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Names of the image's variables (`NAME=value` each) that must not reach the sandbox."""
    names = {entry.partition("=")[0] for entry in image_environment}
    return sorted(name for name in names if _NOT_FROM_IMAGES.fullmatch(name) and name not in environment)


def create_arguments(
    podman: Podman,
    spec: SandboxSpec,
    *,
    image_id: str,
    mounts: Sequence[Mount],
    env_path: Path,
    id_path: Path,
    pid_path: Path,
    unset: Sequence[str],
) -> list[str]:
    """`podman create …` for a sandbox. `mounts` are all of them, our own small files included."""
    return [
        # Podman does not print the id of a container whose streams are passed through.
        *("create", "--pull=never", f"--name={spec.name}", f"--cidfile={id_path}", f"--pidfile={pid_path}"),
        *_isolation(podman.seccomp_profile),
        *(["--init"] if podman.init_program else []),
        *(_limits(spec.limits) if podman.limits_enforced else []),
        *(f"--ulimit={limit}" for limit in podman.ulimits),
        *(f"--label={name}={value}" for name, value in {**spec.labels, SANDBOX_LABEL: spec.name}.items()),
        *(f"--unsetenv={name}" for name in unset),
        f"--env-file={env_path}",
        *(f"--mount={mount_option(mount)}" for mount in mounts),
        f"--workdir={spec.workdir}",
        *("--entrypoint=", "--", image_id, *spec.command),
    ]


def _isolation(seccomp_profile: Path) -> list[str]:
    return [
        *("--network=none", "--ipc=private", "--pid=private", "--uts=private", "--cgroupns=private"),
        *("--cap-drop=all", *(f"--cap-add={name}" for name in CAPABILITIES)),
        *("--security-opt=no-new-privileges", f"--security-opt=seccomp={seccomp_profile}"),
        *("--user=0:0", f"--hostname={HOSTNAME}", "--no-hosts", "--http-proxy=false", "--umask=0022"),
        *("--image-volume=ignore", "--no-healthcheck", "--sdnotify=ignore", "--stop-signal=SIGTERM"),
        # Standard streams are pipes of ours, see `open_sandbox`: nothing is logged to the host's disk, and an
        # agent that writes too fast waits.
        *("--interactive", "--log-driver=passthrough", "--restart=no", "--oom-score-adj=500"),
    ]


def _limits(limits: LimitsConfig) -> list[str]:
    return [f"--memory={limits.memory_mib}m", f"--pids-limit={limits.pids}", f"--cpus={limits.cpus:g}"]


def mount_option(mount: Mount) -> str:
    """The value of `--mount`, which Podman reads as a line of CSV: a path may hold commas and quotes."""
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}", "bind-propagation=rprivate"]
    fields.append("ro=true" if mount.read_only else "ro=false")
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
