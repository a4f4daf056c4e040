"""Git LFS beside git's own server: the batch API, the basic transfer, and objects in memory."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from airut_sandbox.testing.git_server import GitServer
from airut_sandbox.testing.https_server import Request, answer

MEDIA_TYPE = "application/vnd.git-lfs+json"


@dataclass
class LfsServer:
    """One store for all repositories of `git`, which answers everything else, too."""

    git: GitServer
    origin: str
    """How clients call this server: `https://host`."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """By object id."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Object id to the URL that clients are sent to for it."""
    taken: list[str] = field(default_factory=list)
    """Ids of objects that were downloaded from here, in that order."""

    def handle(self, request: Request) -> None:
        """For `HttpsServer`."""
        repository, found, path = request.path.partition("/info/lfs/")
        if not found:
            self.git.handle(request)
            return
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        self.git.authorizations.append(request.headers.get("authorization", ""))
        if not self.git.admits(request):
            answer(request, 401, headers={"WWW-Authenticate": 'Basic realm="lfs"'})
            return
        folder, _, oid = path.rpartition("/")
        match request.command, folder, oid:
            case "POST", "objects", "batch":
                stored = f"{self.origin}{repository}/info/lfs/stored"
                _answer_json(request, self._batch(json.loads(body), stored, request.headers["authorization"]))
            case "POST", "locks", "verify":
                _answer_json(request, {"ours": [], "theirs": []})
            case "GET", "stored", _ if oid in self.objects:
                self.taken.append(oid)
                answer(request, 200, self.objects[oid], {"Content-Type": "application/octet-stream"})
            case "PUT", "stored", _ if oid == oid_of(body):
                self.objects[oid] = body
                answer(request, 200)
            case _:
                answer(request, 404)

    def _batch(self, asked: Any, stored: str, authorization: str) -> object:
        operation = asked["operation"]
        return {
            "transfer": "basic",
            "objects": [
                {**each, **self._action(operation, each["oid"], stored, authorization)}
                for each in asked["objects"]
            ],
        }

    def _action(self, operation: str, oid: str, stored: str, authorization: str) -> dict[str, object]:
        if operation == "upload":
            # Without a header: the client finds the credential itself.
            return {} if oid in self.objects else {"actions": {"upload": {"href": f"{stored}/{oid}"}}}
        if oid in self.elsewhere:
            return {"authenticated": True, "actions": {"download": {"href": self.elsewhere[oid]}}}
        if oid not in self.objects:
            return {"error": {"code": 404, "message": "no such object"}}
        # With one, as hosts do that answer what they were asked with.
        action = {"href": f"{stored}/{oid}", "header": {"Authorization": authorization}}
        return {"authenticated": True, "actions": {"download": action}}


def pointer(content: bytes) -> str:
    """What git has in place of an object."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid_of(content)}\nsize {len(content)}\n"


def oid_of(content: bytes) -> str:
    """How an object is called."""
    return hashlib.sha256(content).hexdigest()


def _answer_json(request: Request, body: object) -> None:
    answer(request, 200, json.dumps(body).encode(), {"Content-Type": MEDIA_TYPE})
