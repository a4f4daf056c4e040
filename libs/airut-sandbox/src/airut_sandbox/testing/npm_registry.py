"""The two questions that are asked of an npm registry: a version's metadata and its archive."""

import base64
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field

from airut_sandbox.testing.https_server import Request, answer


@dataclass
class NpmRegistry:
    """A registry with the packages a test puts into it."""

    packages: dict[str, bytes] = field(default_factory=dict)
    """`name@version` to archive."""
    integrity: dict[str, str] = field(default_factory=dict)
    tarball: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    """`name@tag` to version."""
    status: int | None = None
    requests: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/"

    def put(self, name: str, version: str, members: dict[str, bytes] | bytes) -> bytes:
        data = members if isinstance(members, bytes) else make_archive(members)
        key = f"{name}@{version}"
        self.packages[key] = data
        self.integrity[key] = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
        self.tarball[key] = f"{self.url}archive/{key}"
        return data

    def handle(self, request: Request) -> None:
        self.requests.append(request.path)
        key = request.path.removeprefix("/archive/")
        if self.status is not None:
            answer(request, self.status)
        elif request.path.startswith("/archive/"):
            answer(request, 200, self.packages[key])
        else:
            self._metadata(request)

    def _metadata(self, request: Request) -> None:
        name, version = request.path.removeprefix("/").replace("%2f", "/").rsplit("/", 1)
        version = self.tags.get(f"{name}@{version}", version)
        key = f"{name}@{version}"
        if key not in self.packages:
            answer(request, 404)
            return
        dist = {"integrity": self.integrity[key], "tarball": self.tarball[key]}
        answer(request, 200, json.dumps({"name": name, "version": version, "dist": dist}).encode())


def make_archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o777
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
