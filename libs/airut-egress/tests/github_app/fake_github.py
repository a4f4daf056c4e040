"""A GitHub on a real socket that checks the App's JWT with its public key, and can be told to misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()

HELLO = {"id": 1296269, "node_id": "MDEwOlJlcG9zaXRvcnkxMjk2MjY5", "full_name": "Octocat/Hello-World"}
KEYS = {"id": 459780477, "node_id": "R_kgDOG2exfQ", "full_name": "blacklanternsecurity/test_keys"}


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class FakeGitHub:
    now: Callable[[], datetime]
    repositories: list[Any] = field(default_factory=lambda: [HELLO, KEYS])
    total: Any = None
    token: Any = None
    lifetime: timedelta = timedelta(hours=1)
    token_override: bytes | None = None
    """A whole HTTP answer in place of the one to the POST."""
    list_override: bytes | None = None
    gate: asyncio.Event | None = None
    """The POST waits for it."""
    requests: list[Request] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    base_url: str = ""

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeGitHub"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v3"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()
            assert not self.problems, self.problems

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read_request(reader)
            self.requests.append(request)
            writer.write(await self._answer(request))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as problem:
            self.problems.append(repr(problem))
        finally:
            writer.close()

    async def _answer(self, request: Request) -> bytes:
        scheme, _, bearer = request.headers["authorization"].partition(" ")
        assert scheme == "Bearer"
        assert request.headers["accept"] == "application/vnd.github+json"
        assert request.headers["x-github-api-version"] == "2022-11-28"
        if request.path == "/api/v3/app/installations/42/access_tokens":
            assert request.method == "POST"
            if self.gate is not None:
                await self.gate.wait()
            self.proofs.append(bearer)
            self._check_proof(bearer)
            return self.token_override or self._token_answer()
        path, _, query = request.path.partition("?")
        assert (request.method, path) == ("GET", "/api/v3/installation/repositories")
        assert bearer == self._token()
        return self.list_override or self._page(dict(pair.split("=") for pair in query.split("&")))

    def _check_proof(self, proof: str) -> None:
        assert jwt.get_unverified_header(proof)["alg"] == "RS256"
        claims = jwt.decode(
            proof, KEY.public_key(), algorithms=["RS256"], options={"verify_iat": False, "verify_exp": False}
        )
        now = int(self.now().timestamp())
        assert claims.keys() == {"iat", "exp", "iss"}
        assert claims["iss"] == "1234"
        assert claims["iat"] == now - 60
        assert now < claims["exp"] <= now + 600
        assert claims["exp"] - claims["iat"] <= 600

    def _token(self) -> str:
        return self.token if self.token is not None else f"ghs_token{len(self.posts)}"

    def _token_answer(self) -> bytes:
        expires = (self.now() + self.lifetime).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return answer(
            201, {"token": self._token(), "expires_at": expires, "repository_selection": "selected"}
        )

    def _page(self, query: dict[str, str]) -> bytes:
        size, page = int(query["per_page"]), int(query["page"])
        assert 0 < size <= 100
        total = len(self.repositories) if self.total is None else self.total
        entries = self.repositories[size * (page - 1) : size * page]
        return answer(200, {"total_count": total, "repositories": entries})


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, json.loads(raw) if raw else None)


def answer(status: int, body: object, *headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(raw)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + raw
