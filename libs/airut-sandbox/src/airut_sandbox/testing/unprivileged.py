"""A throwaway unprivileged user with subordinate ids, and a way to run commands as that user.

Rootless is the product, but test hosts often give only root, and keep the interpreter in root's own home. A
command runs in a mount namespace of its own in which the folders it needs can be reached at their usual paths;
nothing of the host is changed or copied. Started by an ordinary user, everything runs as that user instead.

Run as a program (root only): `python -m airut_sandbox.testing.unprivileged UID GID PATH[:PATH…] -- COMMAND…`
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PASSED_ON = ("LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class UnprivilegedUser:
    """Somebody without rights. `home` is theirs alone; paths in `reachable` can be read by them."""

    name: str
    uid: int
    gid: int
    home: Path
    reachable: tuple[Path, ...]

    def environment(self, **more: str) -> dict[str, str]:
        """A login-like environment: nothing of ours but certificates and proxies."""
        folders = [
            str(Path(sys.executable).parent),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        own = {"HOME": str(self.home), "USER": self.name, "LOGNAME": self.name, "PATH": ":".join(folders)}
        return passed | own | {"TMPDIR": str(self.home / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"} | more

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` as this user, for any way of starting processes; give it `environment()`."""
        if self.uid == os.geteuid():
            return list(argv)
        paths = ":".join(str(path) for path in self.reachable)
        return [sys.executable, "-m", __name__, str(self.uid), str(self.gid), paths, "--", *argv]

    def run(
        self, argv: Sequence[str], *, timeout_seconds: float, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run to the end. The outcome holds both outputs and the exit code, which is not checked.

        Raises:
            subprocess.TimeoutExpired: the deadline passed; the whole process group was killed.
        """
        process = subprocess.Popen(
            self.command(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(**(env or {})),
            cwd=self.home,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout_seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


@contextlib.contextmanager
def unprivileged_user(*reachable: Path) -> Iterator[UnprivilegedUser]:
    """Provide a user who can read this interpreter, its environment and `reachable`; gone afterwards."""
    paths = (Path(sys.base_prefix), Path(sys.prefix), *(path.resolve() for path in reachable))
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.geteuid())
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "tmp").mkdir()
            # Podman keeps its images in the real home, so that one stays.
            yield UnprivilegedUser(me.pw_name, me.pw_uid, me.pw_gid, Path.home(), paths)
        return
    name = f"airut-test-{secrets.token_hex(4)}"
    home = Path("/var/tmp", name)  # noqa: S108 - an unguessable name, made by useradd with mode 0700
    # Ordinary accounts get subordinate ids from useradd, within the ranges of /etc/login.defs.
    _call("useradd", "--create-home", "--home-dir", str(home), "--shell", "/bin/sh", "--user-group", name)
    entry = pwd.getpwnam(name)
    try:
        home.chmod(0o700)
        (home / "tmp").mkdir()
        os.chown(home / "tmp", entry.pw_uid, entry.pw_gid)
        yield UnprivilegedUser(name, entry.pw_uid, entry.pw_gid, home, paths)
    finally:
        _end_processes(name, entry.pw_uid)
        _call("userdel", "--force", name)
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(f"/tmp/podman-run-{entry.pw_uid}", ignore_errors=True)  # noqa: S108


def _call(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)


def _end_processes(name: str, uid: int) -> None:
    """Kill what runs as this throwaway user or under its subordinate ids: Podman's pause process, leftovers."""
    ours = {uid} | _subordinate_ids(name)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid in ours:
                    os.kill(int(entry.name), signal.SIGKILL)


def _subordinate_ids(name: str) -> set[int]:
    for line in Path("/etc/subuid").read_text().splitlines():
        owner, first, count = line.split(":")
        if owner == name:
            return set(range(int(first), int(first) + int(count)))
    return set()


def _open_ways(paths: Sequence[Path]) -> None:
    """In a mount namespace of our own: whatever closed folder is on the way to a path is covered by an empty one
    that shows nothing but these paths."""
    os.unshare(os.CLONE_NEWNS)
    _call("mount", "--make-rslave", "/")
    staged: dict[Path, Path] = {}
    closed = {folder: path for path in paths if (folder := _closed_parent(path)) is not None}
    if not closed:
        return
    stage = Path(tempfile.mkdtemp(dir="/run"))
    _call("mount", "-t", "tmpfs", "tmpfs", str(stage))
    for number, path in enumerate(path for path in paths if _closed_parent(path) is not None):
        (stage / str(number)).mkdir()
        _call("mount", "--rbind", str(path), str(stage / str(number)))
        staged[path] = stage / str(number)
    for folder in closed:
        _call("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(folder))
    for path, source in staged.items():
        path.mkdir(parents=True, exist_ok=True)
        _call("mount", "--rbind", str(source), str(path))
    _call("umount", "--lazy", str(stage))
    stage.rmdir()


def _closed_parent(path: Path) -> Path | None:
    """The topmost folder on the way to `path` that others may not pass through."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def _main(uid: int, gid: int, paths: str, command: Sequence[str]) -> None:
    _open_ways([Path(path) for path in paths.split(":")])
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.execvpe(command[0], list(command), os.environ)  # noqa: S606 - the point of this program


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[5:])
