"""Services that programs speak to: each takes the real credential alone, and says so to whoever brings another."""

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from airut_egress.testing.origin import Answer, Seen

from .signatures import SignatureWrong, check_signature

GIT, API, PYPI, NPM, S3, WS = (f"{name}.example.test" for name in ("git", "api", "pypi", "npm", "s3", "ws"))
#: What the sandbox must never see.
SECRETS: Final = {
    "GIT_TOKEN": "ghp_realGitToken0123456789abcdefREAL0001",
    "API_TOKEN": "sk-ant-realApiToken0123456789abcdefREAL02",
    "PYPI_TOKEN": "realPypiToken0123456789abcdefREAL0003",
    "NPM_TOKEN": "realNpmToken0123456789abcdefREAL00004",
    "AWS_ACCESS_KEY_ID": "AKIAREALREALREAL0005",
    "AWS_SECRET_ACCESS_KEY": "real/secret+ABCDEFGHIJKLMNOPQRSTUVWXYZ06",
}
LARGE: Final = 12 * 1024 * 1024
"""Bytes of the object that is uploaded in parts."""


def _json(body: object, status: int = 200) -> Answer:
    return Answer(status, [("content-type", "application/json")], json.dumps(body).encode())


@dataclass
class Services:
    """All of them but git and WebSocket, told apart by the host that was asked for."""

    refused: list[str] = field(default_factory=list)
    """What came without the real credential."""
    versions: dict[str, str] = field(default_factory=dict)
    """User agent or target, to the protocol it came by."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """Key to content, of the bucket."""
    parts: dict[int, bytes] = field(default_factory=dict)
    payloads: set[str] = field(default_factory=set)
    """Kinds of payload that signatures were made over."""

    def respond(self, seen: Seen) -> Answer:
        host = (seen.header(":authority") or seen.header("host") or "").partition(":")[0]
        if host.endswith(S3):
            return self._s3(seen)
        answer = {API: self._api, PYPI: self._pypi, NPM: self._npm}[host](seen)
        if answer.status in {401, 403}:
            self.refused.append(f"{seen.method} {host}{seen.target}: {seen.headers}")
        return answer

    def _api(self, seen: Seen) -> Answer:
        real = SECRETS["API_TOKEN"]
        self.versions[seen.target] = seen.version
        if seen.header("authorization") not in {f"Bearer {real}", f"token {real}"}:
            return _json({"message": "Bad credentials"}, 401)
        if seen.target == "/graphql":
            asked = json.loads(seen.body)
            return _json({"data": {"viewer": {"login": "ada"}}, "asked": asked["query"]})
        # A service that tells what it was given: the real value must not come back.
        return _json({"login": "ada", "token": real, "target": seen.target, "body": seen.body.decode()})

    def _pypi(self, seen: Seen) -> Answer:
        wanted = base64.b64encode(f"ci:{SECRETS['PYPI_TOKEN']}".encode()).decode()
        if seen.header("authorization") != f"Basic {wanted}":
            return Answer(401, [("www-authenticate", 'Basic realm="index"')], b"")
        if seen.target == "/simple/airut-demo/":
            page = b'<!DOCTYPE html><a href="../../files/airut_demo-1.0-py3-none-any.whl">airut_demo-1.0-py3-none-any.whl</a>'
            return Answer(200, [("content-type", "text/html")], page)
        if seen.target == "/files/airut_demo-1.0-py3-none-any.whl":
            return Answer(200, [("content-type", "application/octet-stream")], wheel())
        return Answer(404)

    def _npm(self, seen: Seen) -> Answer:
        if seen.header("authorization") != f"Bearer {SECRETS['NPM_TOKEN']}":
            return _json({"error": "unauthorized"}, 401)
        self.versions[seen.target] = seen.version
        archive = npm_package()
        if seen.target.lower() == "/@airut%2fdemo":
            integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
            dist = {"tarball": f"https://{NPM}/@airut/demo/-/demo-1.0.0.tgz", "integrity": integrity}
            version = {"name": "@airut/demo", "version": "1.0.0", "main": "index.js", "dist": dist}
            tags = {"latest": "1.0.0"}
            return _json({"name": "@airut/demo", "dist-tags": tags, "versions": {"1.0.0": version}})
        if seen.target == "/@airut/demo/-/demo-1.0.0.tgz":
            return Answer(200, [("content-type", "application/octet-stream")], archive)
        return _json({"error": "not found"}, 404)

    def _s3(self, seen: Seen) -> Answer:
        try:
            content, payload = check_signature(seen, SECRETS)
        except SignatureWrong as error:
            self.refused.append(f"{seen.method} {seen.target}: {error}")
            return Answer(
                403,
                body=f"<Error><Code>SignatureDoesNotMatch</Code><Message>{error}</Message></Error>".encode(),
            )
        self.payloads.add(payload)
        parts = urlsplit(seen.target)
        key, query = unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        match seen.method:
            case "POST" if "uploads" in query:
                self.parts.clear()
                return _xml(
                    "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
                )
            case "PUT" if "partNumber" in query:
                self.parts[int(query["partNumber"][0])] = content
                return Answer(200, [("etag", etag)], b"")
            case "POST" if "uploadId" in query:
                self.objects[key] = b"".join(self.parts[number] for number in sorted(self.parts))
                return _xml("<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
            case "PUT":
                self.objects[key] = content
                return Answer(200, [("etag", etag)], b"")
            case "GET" if key in self.objects:
                return Answer(200, [("etag", etag)], self.objects[key])
        return Answer(404, body=b"<Error><Code>NoSuchKey</Code></Error>")


def _xml(text: str) -> Answer:
    return Answer(200, [("content-type", "application/xml")], f'<?xml version="1.0"?>{text}'.encode())


def wheel() -> bytes:
    """A package for pip (PyPA binary distribution format)."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("airut_demo.py", "SAID = 'from the wheel'\n")
        archive.writestr(
            "airut_demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: airut-demo\nVersion: 1.0\n"
        )
        archive.writestr(
            "airut_demo-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("airut_demo-1.0.dist-info/RECORD", "")
    return data.getvalue()


def npm_package() -> bytes:
    """A package for npm; the same bytes each time."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        files = {
            "package/package.json": json.dumps(
                {"name": "@airut/demo", "version": "1.0.0", "main": "index.js"}
            ),
            "package/index.js": "module.exports = 'from the tarball';\n",
        }
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()
