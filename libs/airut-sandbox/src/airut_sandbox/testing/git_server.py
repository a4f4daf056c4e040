"""Git's own server (`git http-backend`) over HTTPS, and an author who pushes to it."""

import base64
import os
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from airut_sandbox.testing.https_server import Authority, Request, answer

GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@lovelace.example",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@lovelace.example",
}


def run_git(*args: str, cwd: Path, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", *args], cwd=cwd, env=GIT_ENVIRONMENT, input=stdin, capture_output=True, check=True, timeout=60
    )
    return done.stdout.decode()


@dataclass
class GitServer:
    """Bare repositories below `root`, served over HTTPS."""

    root: Path
    authority: Authority
    token: str | None = None
    """Demand this password."""
    status: int | None = None
    """Answer this instead of serving."""
    location: str | None = None
    hang: threading.Event | None = None
    """Answer nothing before it is set."""
    authorizations: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, name: str = "demo.git", host: str = "localhost") -> str:
        return f"https://{host}:{self.port}/{name}"

    def handle(self, request: Request) -> None:
        self.requests.append(request.path)
        self.authorizations.append(request.headers.get("authorization", ""))
        if self.hang is not None:
            self.hang.wait(60)
            return
        if self.status is not None:
            answer(
                request,
                self.status,
                headers={"Location": self.location + request.path} if self.location else {},
            )
            return
        if not self.admits(request):
            answer(request, 401, headers={"WWW-Authenticate": 'Basic realm="git"'})
            return
        self._serve(request)

    def admits(self, request: Request) -> bool:
        return self.token is None or self._password(request) == self.token

    def _password(self, request: Request) -> str:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        return base64.b64decode(value).decode().partition(":")[2] if scheme == "Basic" else ""

    def _serve(self, request: Request) -> None:
        path, _, query = request.path.partition("?")
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        environment = GIT_ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.command,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "REMOTE_USER": "reader",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, timeout=60, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        answer(request, status, content, headers)


@dataclass
class Upstream:
    """A working copy whose pushes land in the served repository."""

    tree: Path
    bare: Path
    server: GitServer

    def commit(self, files: dict[str, str | bytes], *, message: str = "change") -> str:
        for name, content in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.commit_all(message)

    def commit_all(self, message: str = "change") -> str:
        run_git("add", "--all", "--force", cwd=self.tree)
        run_git("commit", "--quiet", "--allow-empty", "-m", message, cwd=self.tree)
        self.push()
        return run_git("rev-parse", "HEAD", cwd=self.tree).strip()

    def push(self) -> None:
        run_git("push", "--quiet", "--force", "--all", str(self.bare), cwd=self.tree)
