"""A git host: the real `git http-backend` behind HTTPS. Anybody reads; pushing needs the token."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import subprocess
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from airut_demo.world.gate import Gate

_SECONDS = 120
_CHUNK_BYTES = 64 * 1024
_GATE_BYTES = 1024 * 1024
_QUIET = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": os.environ.get("PATH", "/usr/bin"),
}
_PERSON = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@lovelace.example"))
}


class GitHost:
    """Bare repositories below `root`. `seen` holds digests of the credentials that arrived, never the values."""

    def __init__(self, root: Path, token: str) -> None:
        self.root = root
        self.token = token
        self.seen: set[str] = set()
        self.redirects: dict[str, str] = {}
        """Path (without its first slash) to where it sends the client, as hosts do."""
        self.gate: Gate | None = None
        """Stands in answers of more than a mebibyte, after the first."""

    def create(self, name: str, files: Mapping[str, str]) -> Path:
        """A bare repository `name` with one commit of `files` on `main`. Blocking."""
        bare, draft = self.root / f"{name}.git", self.root / f".{name}-draft"
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
        _git("-C", str(bare), "config", "http.receivepack", "true")
        _git("init", "--quiet", "--initial-branch=main", str(draft))
        self.commit(draft, files, "A first version")
        _git("-C", str(draft), "push", "--quiet", str(bare), "main")
        return bare

    def commit(self, work: Path, files: Mapping[str, str], message: str) -> None:
        """Write files into a work tree of ours and commit them. Blocking."""
        for path, text in files.items():
            file = work / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        _git("-C", str(work), "add", "--all")
        _git("-C", str(work), "commit", "--quiet", "--message", message)

    def application(self) -> FastAPI:
        """The host as an ASGI application."""
        web = FastAPI(openapi_url=None)

        @web.api_route("/{path:path}", methods=["GET", "POST"])
        async def serve(request: Request, path: str) -> Response:
            return await self._serve(request, path)

        return web

    async def _serve(self, request: Request, path: str) -> Response:
        if path in self.redirects:
            return Response(status_code=302, headers={"Location": self.redirects[path]})
        password = _password(request.headers.get("authorization", ""))
        if password:
            self.seen.add(hashlib.sha256(password.encode()).hexdigest())
        pushes = path.endswith("git-receive-pack") or "git-receive-pack" in request.url.query
        if pushes and not hmac.compare_digest(password.encode(), self.token.encode()):
            return Response(status_code=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        environment = _QUIET | {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{path}",
            "QUERY_STRING": request.url.query,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
            "REMOTE_USER": "ada",
            "REMOTE_ADDR": "127.0.0.1",
        }
        gate = self.gate if path.endswith("git-upload-pack") else None
        return await _run_backend(environment, request, gate)


async def _run_backend(environment: Mapping[str, str], request: Request, gate: Gate | None) -> Response:
    """Run `git http-backend` as a CGI program (RFC 3875), both bodies streamed."""
    # A file between client and program: it may answer before it has read everything, and nobody waits for nobody.
    with tempfile.TemporaryFile() as body:
        async for part in request.stream():
            await asyncio.to_thread(body.write, part)
        body.seek(0)
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=environment, stdin=body, stdout=PIPE, stderr=DEVNULL
        )
    output = _output(process)
    try:
        async with asyncio.timeout(_SECONDS):
            head = await output.readuntil(b"\r\n\r\n")
    except BaseException as error:
        await _end(process)
        if not isinstance(error, TimeoutError | asyncio.IncompleteReadError):
            raise
        return Response("git http-backend gave no answer\n", status_code=502)
    status, headers = _parse_head(head)
    return StreamingResponse(_stream(process, gate), status_code=status, headers=headers)


async def _stream(process: Process, gate: Gate | None) -> AsyncIterator[bytes]:
    sent = 0
    try:
        async with asyncio.timeout(_SECONDS):
            while part := await _output(process).read(_CHUNK_BYTES):
                yield part
                sent += len(part)
                if gate is not None and sent >= _GATE_BYTES:
                    await gate.passed()
    finally:
        # A client that went away has this cancelled at each await.
        await asyncio.shield(_end(process))


def _output(process: Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise RuntimeError("git http-backend was started without a pipe")
    return process.stdout


async def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    # A pipe that nobody reads to its end is never closed.
    while await _output(process).read(_CHUNK_BYTES):
        pass
    await process.wait()


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and header fields of a CGI answer."""
    status, headers = 200, {}
    for line in head.decode("latin-1").strip().split("\r\n"):
        name, _, value = line.partition(": ")
        if name.lower() == "status":
            status = int(value.split()[0])
        elif name:
            headers[name] = value
    return status, headers


def _password(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return value
    try:
        return base64.b64decode(value).decode().partition(":")[2]
    except ValueError:
        return ""


def _git(*arguments: str) -> None:
    subprocess.run(
        ["git", *arguments], check=True, timeout=_SECONDS, env=_QUIET | _PERSON, capture_output=True
    )
