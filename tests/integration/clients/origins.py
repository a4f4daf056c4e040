"""Services that programs speak to: each takes the real credential alone, and repeats it wherever an answer can carry it."""

import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from airut_egress.testing.origin import Answer, Seen

from .github import answer_graphql, answer_rest
from .packages import npm_package, wheel

GITHUB: Final = "api.github.com"
"""The real name: `gh` then needs no setting that it would not have elsewhere."""
GIT, API, PYPI, NPM, WS = (f"{name}.example.test" for name in ("git", "api", "pypi", "npm", "ws"))
#: What the sandbox must never see.
SECRETS: Final = {
    "GIT_TOKEN": "ghp_realGitToken0123456789abcdefREAL0001",
    "GH_TOKEN": "ghp_realGitHubToken0123456789abcREAL0007",
    "API_TOKEN": "sk-ant-realApiToken0123456789abcdefREAL02",
    "PYPI_TOKEN": "realPypiToken0123456789abcdefREAL0003",
    "NPM_TOKEN": "realNpmToken0123456789abcdefREAL00004",
}
_WHEEL: Final = "airut_demo-1.0-py3-none-any.whl"


def as_json(body: object, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, [("content-type", "application/json")], json.dumps(body).encode())


@dataclass
class Services:
    """All of them but git and WebSocket, told apart by the host that was asked for."""

    admitted: Counter[str] = field(default_factory=Counter)
    """Host, to the requests that brought its real credential."""
    refused: list[str] = field(default_factory=list)
    """What came without it."""
    versions: dict[str, str] = field(default_factory=dict)
    """Target, to the protocol it came by."""

    def respond(self, seen: Seen) -> Answer:
        """For `Origin.respond`."""
        host = (seen.header(":authority") or seen.header("host") or "").partition(":")[0]
        wanted, answer = _SERVICES[host]
        self.versions[seen.target] = seen.version
        if seen.header("authorization") != wanted:
            self.refused.append(f"{seen.method} {host}{seen.target}: {seen.headers}")
            refusal = as_json({"message": "Bad credentials"}, 401)
            refusal.headers.append(("www-authenticate", 'Basic realm="index"'))
            return refusal
        self.admitted[host] += 1
        return _compressed(answer(seen), seen)


def _compressed(answer: Answer, seen: Seen) -> Answer:
    """As servers do when they may: whoever searches an answer has to undo it."""
    if "gzip" in (seen.header("accept-encoding") or "") and answer.body:
        answer.headers.append(("content-encoding", "gzip"))
        answer.body = gzip.compress(answer.body)
    return answer


def _api(seen: Seen) -> Answer:
    """Tells in a header and in the body what it was given."""
    real = SECRETS["API_TOKEN"]
    answer = as_json({"token": real, "body": seen.body.decode()})
    answer.headers.append(("x-you-are", real))
    return answer


def _github(seen: Seen) -> Answer:
    if seen.target == "/graphql":
        return as_json(answer_graphql(json.loads(seen.body), SECRETS["GH_TOKEN"]))
    found = answer_rest(seen.target, SECRETS["GH_TOKEN"])
    if found is None:
        return as_json({"message": "Not Found"}, 404)
    body, headers = found
    answer = as_json(body)
    answer.headers += headers
    return answer


def _pypi(seen: Seen) -> Answer:
    """The simple repository API (PEP 503)."""
    if seen.target == "/simple/airut-demo/":
        digest = hashlib.sha256(wheel()).hexdigest()
        page = f'<!DOCTYPE html><a href="../../files/{_WHEEL}#sha256={digest}">{_WHEEL}</a>'
        return Answer(200, [("content-type", "text/html")], page.encode())
    if seen.target == f"/files/{_WHEEL}":
        return Answer(200, [("content-type", "application/octet-stream")], wheel())
    return Answer(404)


def _npm(seen: Seen) -> Answer:
    archive = npm_package()
    if seen.target.lower() == "/@airut%2fdemo":
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
        dist = {"tarball": f"https://{NPM}/@airut/demo/-/demo-1.0.0.tgz", "integrity": integrity}
        version = {"name": "@airut/demo", "version": "1.0.0", "main": "index.js", "dist": dist}
        return as_json(
            {"name": "@airut/demo", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        )
    if seen.target == "/@airut/demo/-/demo-1.0.0.tgz":
        return Answer(200, [("content-type", "application/octet-stream")], archive)
    return as_json({"error": "not found"}, 404)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


_SERVICES: Final[dict[str, tuple[str, Callable[[Seen], Answer]]]] = {
    API: (f"Bearer {SECRETS['API_TOKEN']}", _api),
    GITHUB: (f"token {SECRETS['GH_TOKEN']}", _github),
    PYPI: (_basic("ci", SECRETS["PYPI_TOKEN"]), _pypi),
    NPM: (f"Bearer {SECRETS['NPM_TOKEN']}", _npm),
}
