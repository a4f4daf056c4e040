"""A sandbox that is not confined as asked never runs anything. Field-notes rows 10, 46, 47."""

import secrets
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from airut_sandbox.build_network import open_namespace
from airut_sandbox.container import Mount, open_sandbox
from airut_sandbox.errors import SandboxError, SandboxRefused
from airut_sandbox.readback import Facts, read_facts
from airut_sandbox.testing import flag_changer
from airut_sandbox.testing.containers import Bench, Output, compile_static

pytestmark = pytest.mark.integration

SPOILED = [
    ("--cap-drop=all", "--cap-add=SYS_ADMIN", "capabilities"),
    ("--cap-drop=all", "", "capabilities"),
    ("--security-opt=no-new-privileges", "", "no-new-privileges is off"),
    ("--security-opt=seccomp=", "--security-opt=seccomp=unconfined", "no profile"),
    ("--security-opt=seccomp=", "", "the rules are not ours"),
    ("--umask=", "--privileged", "capabilities"),
    ("--network=none", "--network=host", "namespaces: net"),
    ("--pid=private", "--pid=host", "namespaces: pid"),
    # A host without /dev/mqueue makes Podman itself refuse this one.
    ("--ipc=private", "--ipc=host", "namespaces: ipc|/dev/mqueue"),
    ("--hostname=", "--uts=host", "namespaces: uts"),
    ("--cgroupns=private", "--cgroupns=host", "namespaces: cgroup"),
    ("--umask=", "--volume=/usr:/host", "/host"),
    ("--umask=", "--volume=/dev:/dev/host", "/dev/host"),
    ("--umask=", "--security-opt=unmask=ALL", "/proc/keys"),
    ("--umask=", "--device=/dev/null:/dev/extra", "/dev/extra|a device of the host"),
    ("--env-file=", "", "environment: NAME"),
]


@pytest.mark.parametrize(("prefix", "replacement", "reason"), SPOILED)
async def test_wrong_flags_are_noticed_before_anything_runs(
    bench: Bench, prefix: str, replacement: str, reason: str
) -> None:
    """Row 46: whatever made Podman drop a restriction, the kernel's answer decides."""
    changer = str(Path(flag_changer.__file__))
    # Podman itself refuses --init without a process namespace.
    init = None if prefix.startswith("--pid") else bench.podman.init_program
    spoiled = replace(bench.podman, argv=(sys.executable, changer, prefix, replacement), init_program=init)
    spec = bench.shell("echo ran > /workspace/ran", environment={"NAME": "value"})
    with pytest.raises(SandboxError, match=reason):
        async with open_sandbox(spoiled, spec) as sandbox:
            await sandbox.run(b"", Output(), 60)
    assert not (bench.workspace / "ran").exists()
    assert await bench.containers() == []


async def test_a_mount_that_became_writable_is_noticed(bench: Bench, tmp_path: Path) -> None:
    (shown := tmp_path / "shown").mkdir()
    option = f"--mount=type=bind,source={shown},target=/shown"
    changer = str(Path(flag_changer.__file__))
    spoiled = replace(
        bench.podman, argv=(sys.executable, changer, f"--mount=type=bind,source={shown}", option)
    )
    spec = bench.spec("true", mounts=(Mount(shown, "/shown", read_only=True),), workdir="/")
    with pytest.raises(SandboxRefused, match="/shown is writable"):
        async with open_sandbox(spoiled, spec):
            pass


async def test_a_mount_of_something_else_is_noticed(bench: Bench, tmp_path: Path) -> None:
    (shown := tmp_path / "shown").mkdir()
    (other := tmp_path / "other").mkdir()
    option = f"--mount=type=bind,source={other},target=/shown,ro=true"
    changer = str(Path(flag_changer.__file__))
    spoiled = replace(
        bench.podman, argv=(sys.executable, changer, f"--mount=type=bind,source={shown}", option)
    )
    spec = bench.spec("true", mounts=(Mount(shown, "/shown", read_only=True),), workdir="/")
    with pytest.raises(SandboxRefused, match="/shown shows something else"):
        async with open_sandbox(spoiled, spec):
            pass


async def test_a_falsified_answer_before_the_start_is_fatal(bench: Bench) -> None:
    def falsified(pid: int, targets: Iterable[str] = ()) -> Facts:
        return replace(read_facts(pid, targets), no_new_privileges=False)

    with pytest.raises(SandboxRefused, match="no-new-privileges"):
        async with open_sandbox(bench.podman, bench.spec(), look=falsified):
            pytest.fail("the sandbox was accepted")
    assert await bench.containers() == []


async def test_a_difference_after_the_start_kills_before_the_prompt(bench: Bench) -> None:
    """Some runtimes load the seccomp filter last, so a missing one shows only in the running command."""
    looks = 0

    def falsified(pid: int, targets: Iterable[str] = ()) -> Facts:
        nonlocal looks
        looks += 1
        return replace(read_facts(pid, targets), seccomp_mode=0) if looks > 1 else read_facts(pid, targets)

    spec = bench.shell("cat > /workspace/got; sleep 1000")
    async with open_sandbox(bench.podman, spec, look=falsified) as sandbox:
        with pytest.raises(SandboxRefused, match="seccomp"):
            await sandbox.run(b"the prompt", Output(), 60)
    assert looks == 2
    assert not (bench.workspace / "got").exists() or (bench.workspace / "got").read_text() == ""


async def test_a_process_that_cannot_be_looked_at_is_refused(bench: Bench) -> None:
    def denied(pid: int, targets: Iterable[str] = ()) -> Facts:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(SandboxRefused, match="could not be checked"):
        async with open_sandbox(bench.podman, bench.spec(), look=denied):
            pytest.fail("the sandbox was accepted")


async def test_what_podman_does_not_say_of_its_container_is_no_consent(bench: Bench, tmp_path: Path) -> None:
    """Its answer comes while the network is made; without one nothing starts."""
    (program := tmp_path / "podman").write_text(
        '#!/bin/sh\n[ "$1 $2" = "container inspect" ] && { echo "no answer" >&2; exit 125; }\nexec podman "$@"\n'
    )
    program.chmod(0o700)
    silent = replace(bench.podman, argv=(str(program),))
    with pytest.raises(SandboxError, match=r"could not be inspected.*no answer"):
        async with open_sandbox(silent, bench.shell("echo ran > /workspace/ran")) as sandbox:
            await sandbox.run(b"", Output(), 60)
    assert not (bench.workspace / "ran").exists()
    assert await bench.containers() == []


async def test_a_namespace_for_a_build_is_not_given_out_before_podman_has_said_what_it_made(
    bench: Bench,
) -> None:
    changer = str(Path(flag_changer.__file__))
    spoiled = replace(
        bench.podman, argv=(sys.executable, changer, "--umask=", "--device=/dev/null:/dev/extra")
    )
    labels = {"airut.installation": bench.installation}
    name = f"airut-{secrets.token_hex(8)}"
    with pytest.raises(SandboxError, match=r"a device of the host|/dev/extra"):
        async with open_namespace(spoiled, bench.image, name=name, labels=labels):
            pytest.fail("the namespace was given out")
    assert await bench.containers() == []


async def _derive(bench: Bench, *changes: str) -> str:
    """An image made from the base image with other metadata, on top of a container's file system."""
    reference = f"localhost/airut-test-{secrets.token_hex(6)}:derived"
    done = await bench.podman.run("create", "--network=none", bench.image, "true")
    container = done.stdout.decode().strip()
    try:
        options = [option for change in changes for option in ("--change", change)]
        await bench.podman.run("commit", "--quiet", *options, container, reference)
    finally:
        await bench.podman.run("rm", "--force", container)
    return reference


async def test_an_image_cannot_steer_podman(bench: Bench) -> None:
    """Row 46: Podman's own annotations, in an image, are instructions to Podman."""
    image = await _derive(bench, "LABEL io.podman.annotations.privileged=TRUE")
    try:
        with pytest.raises(SandboxRefused, match=r"io\.podman\.annotations\.privileged"):
            await bench.run(bench.spec("true", image=image))
    finally:
        await bench.podman.run("rmi", "--force", image)


async def test_what_an_image_says_about_running_it_is_ignored(bench: Bench) -> None:
    """Rows 46, 49: entry point, user, volumes and steering variables are ours alone."""
    image = await _derive(
        bench,
        "ENTRYPOINT /bin/false",
        "USER nobody",
        "VOLUME /workspace/volume",
        "ENV HTTPS_PROXY=http://evil.example",
        "ENV NODE_OPTIONS=--require=/evil",
        "ENV GIT_SSH_COMMAND=/evil",
        "ENV KEPT=1",
        "WORKDIR /etc",
    )
    try:
        _, text = await bench.run(
            bench.shell("id -u; pwd; env; grep -c volume /proc/self/mountinfo", image=image)
        )
    finally:
        await bench.podman.run("rmi", "--force", image)
    lines = text.splitlines()
    assert lines[0] == "0"
    assert lines[1] == "/workspace"
    assert "KEPT=1" in lines
    assert "evil" not in text
    assert lines[-1] == "0"


FAMILIES = [
    "unspec",
    "ax25",
    "packet",
    "packet-dgram",
    "can",
    "tipc",
    "bluetooth",
    "alg",
    "vsock",
    "kcm",
    "smc",
    "xdp",
    "mctp",
    "rds",
    "key",
    "ppp",
    "netfilter",
    "diag",
    "xfrm",
    "uevent",
    "crypto",
    "raw",
    "raw6",
    "ping",
    "sctp",
    "sctp-seq",
    "mptcp",
    "udplite",
    "dccp",
    "l2tp",
    "negative",
    "vsock-wide",
    "inet-wide",
    "tipc-pair",
]
MISSING = [
    "clone-newuser",
    "clone-newnet",
    "clone3",
    "io_uring_setup",
    "personality-weaken",
    "unknown",
    "modify_ldt",
]
FORBIDDEN = [
    "unshare",
    "unshare-files",
    "setns",
    "bpf",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "perf_event_open",
    "mount",
    "chroot",
    "mknod-device",
    "open_by_handle_at",
    "syslog",
    "sethostname",
    "vmsplice",
    "iopl",
]
FOREIGN = ["i386-getpid", "i386-socket", "i386-socketcall", "x32-getpid", "x32-socket"]
ALLOWED = [
    "inet",
    "inet6",
    "unix",
    "route",
    "socketpair",
    "mknod-fifo",
    "personality-query",
    "ptrace-traceme",
]


async def test_system_calls_from_inside(bench: Bench, tmp_path: Path) -> None:
    """Row 10: families, new namespaces, foreign architectures and the rest, asked of the kernel itself."""
    program = await compile_static(Path(__file__).with_name("probe.c"), tmp_path / "probe")
    spec = bench.spec("/probe", mounts=(Mount(program, "/probe", read_only=True),), workdir="/")
    done, text = await bench.run(spec)
    assert done.code == 0
    seen = dict(line.split(" ", 1) for line in text.splitlines())
    wanted = dict.fromkeys(ALLOWED, "ok") | dict.fromkeys([*FAMILIES, *MISSING], "ENOSYS")
    wanted |= (
        {"audit": "EPROTONOSUPPORT"} | dict.fromkeys(FORBIDDEN, "EPERM") | dict.fromkeys(FOREIGN, "SIGSYS")
    )
    assert seen.keys() <= wanted.keys()
    assert {"inet", "vsock", "clone3", "bpf"} <= seen.keys()
    assert seen == {name: wanted[name] for name in seen}


async def test_package_tools_keep_working(bench: Bench) -> None:
    """Row 77: dropped capabilities and system calls must not break package managers and the shell's own tools."""
    script = """
    set -e
    mkdir -p /tmp/pkg/DEBIAN /tmp/pkg/opt/tool
    printf 'Package: tool\\nVersion: 1\\nArchitecture: all\\nMaintainer: a\\nDescription: b\\n' > /tmp/pkg/DEBIAN/control
    printf '#!/bin/sh\\nchown nobody:nogroup /opt/tool\\n' > /tmp/pkg/DEBIAN/postinst
    chmod 755 /tmp/pkg/DEBIAN/postinst
    dpkg-deb --root-owner-group --build /tmp/pkg /tmp/tool.deb >/dev/null
    apt-get install -y /tmp/tool.deb >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
    stat -c %U /opt/tool
    cd /workspace && git init -q r && cd r && git -c user.name=a -c user.email=a@b.example commit -q --allow-empty -m x
    git log --oneline | wc -l
    mkfifo /tmp/f && python3 -c 'import threading; t = threading.Thread(target=print, args=("thread",)); t.start(); t.join()'
    setpriv --reuid=nobody --regid=nogroup --clear-groups id -un
    """
    done, text = await bench.run(bench.shell(script))
    assert (done.code, text.split()) == (0, ["nobody", "1", "thread", "nobody"]), done.stderr_tail
