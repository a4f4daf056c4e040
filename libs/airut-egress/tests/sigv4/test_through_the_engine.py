"""Requests that are signed in the sandbox, through a real engine to an upstream that verifies them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from airut_common.config.credentials import SigningCredential
from airut_common.secrets import Secret
from airut_egress.entries import Credential, UnusableCredential
from airut_egress.sigv4 import KeyPair, Refused, resign
from airut_egress.testing.clients import RawAnswer, client, exchange, parse_answer, request
from airut_egress.testing.origin import Answer, Origin, Seen
from airut_egress.testing.world import Sandbox, World

from .chunk_chain import chain, signature_of, start
from .signing import REAL, REAL_STS, Signed, sign

HOST = "api.example.test"
NAME = "AWS_ACCESS_KEY_ID"


def key(pair: KeyPair = REAL, **config: object) -> Credential:
    token = None if pair.session_token is None else "AWS_SESSION_TOKEN"
    values = {"AWS_ACCESS_KEY_ID": pair.access_key_id, "AWS_SECRET_ACCESS_KEY": pair.secret}
    if token is not None:
        values[token] = pair.session_token or ""
    rule = {"type": "aws-sigv4", "scopes": (HOST,), "session_token": token} | config
    return Credential(
        NAME, SigningCredential(**rule), {name: Secret(value) for name, value in values.items()}
    )


def held(sandbox: Sandbox) -> KeyPair:
    environment = sandbox.environment
    return KeyPair(
        environment["AWS_ACCESS_KEY_ID"],
        environment["AWS_SECRET_ACCESS_KEY"],
        environment.get("AWS_SESSION_TOKEN"),
    )


def signed(pair: KeyPair, method: str = "GET", target: str = "/", host: str = HOST, **options) -> Signed:
    return sign(pair, method, f"https://{host}{target}", at=datetime.now(UTC), **options)


async def send(
    sandbox: Sandbox, message: Signed, *, name: str = HOST, body: bytes | None = None
) -> RawAnswer:
    content = message.body if body is None else body
    lines = [f"{message.method} {message.target.decode()} HTTP/1.1".encode()]
    lines += [name + b": " + value for name, value in message.headers]
    if not any(key.lower() == b"content-length" for key, _ in message.headers):
        lines.append(b"Content-Length: %d" % len(content))
    head = b"\r\n".join([*lines, b"Connection: close", b"", b""])
    return parse_answer(await exchange(sandbox, head + content, name=name))


def verified(seen: Seen, pair: KeyPair = REAL) -> None:
    """What AWS would do: the signature holds for the request and its body under this key."""
    result = resign(
        method=seen.method,
        host=HOST,
        raw_target=seen.target.encode(),
        headers=[(name.encode(), value.encode()) for name, value in seen.headers if name[0] != ":"],
        surrogate=pair,
        real=pair,
        now=datetime.now(UTC),
        body=seen.body,
    )
    if result.body.chunks is not None:
        result.body.chunks.feed(seen.body)
        result.body.chunks.finish()


@pytest.mark.parametrize("pair", [REAL, REAL_STS])
@pytest.mark.parametrize(
    ("service", "body"), [("s3", b""), ("s3", b"content" * 20_000), ("sts", b""), ("sts", b"Action=X" * 9000)]
)
async def test_a_request_arrives_under_the_real_key(
    world: World, origin: Origin, pair: KeyPair, service: str, body: bytes
) -> None:
    sandbox = await world.sandbox(credentials=[key(pair)])
    message = signed(held(sandbox), "PUT", "/bucket/a%20key?x=1", service=service, body=body)
    assert (await send(sandbox, message)).status == 200
    (seen,) = origin.seen
    verified(seen, pair)
    assert seen.body == body
    assert held(sandbox).access_key_id not in bytes(origin.raw).decode("latin-1")
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.credentials, event.decision, event.bytes_out) == ((NAME,), "allow", len(body))


async def test_a_presigned_request(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[key(REAL_STS)])
    message = signed(held(sandbox), target="/bucket/key?versionId=3", service="s3", expires=60)
    assert (await send(sandbox, message)).status == 200
    verified(origin.seen[0], REAL_STS)


@pytest.mark.parametrize("service", ["s3", "dynamodb"])
async def test_over_http2(world: World, origin: Origin, service: str) -> None:
    sandbox = await world.sandbox(credentials=[key()])
    message = signed(held(sandbox), "POST", "/x", service=service, body=b'{"a": 1}')
    async with client(sandbox, http2=True) as http:
        answer = await http.post(
            f"https://{HOST}/x", content=message.body, headers=[h for h in message.headers if h[0] != b"Host"]
        )
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    verified(origin.seen[0])


def chunked(pair: KeyPair, parts: list[bytes]) -> tuple[Signed, bytes]:
    now = datetime.now(UTC)
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    head = start(pair, kind, sum(map(len, parts)), url=f"https://{HOST}/bucket/key", at=now)
    body, _ = chain(pair, signature_of(head), parts, date=f"{now:%Y%m%d}", time=f"{now:%H%M%S}")
    return head, body


@pytest.fixture
def parts() -> list[bytes]:
    return [b"a" * 65536, b"b" * 65536, b"c" * 17]


async def test_signed_chunks_are_signed_anew(world: World, origin: Origin, parts: list[bytes]) -> None:
    sandbox = await world.sandbox(credentials=[key()])
    head, body = chunked(held(sandbox), parts)
    assert (await send(sandbox, head, body=body)).status == 200
    verified(origin.seen[0])
    assert len(origin.seen[0].body) == len(body)


async def test_a_changed_chunk_never_arrives(world: World, origin: Origin, parts: list[bytes]) -> None:
    sandbox = await world.sandbox(credentials=[key()])
    head, body = chunked(held(sandbox), parts)
    await send(sandbox, head, body=body.replace(b"c" * 17, b"d" * 17))
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason) == ("deny", "credential")
    assert origin.seen == []
    assert b"d" * 17 not in bytes(origin.raw)


async def test_another_body_never_arrives_whole(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[key()])
    message = signed(held(sandbox), "PUT", "/bucket/key", service="s3", body=b"x" * 200_000)
    await send(sandbox, message, body=b"x" * 199_999 + b"y")
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason) == ("deny", "credential")
    assert origin.seen == []


async def test_another_body_without_a_digest_is_refused(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[key()])
    message = signed(held(sandbox), "POST", "/", service="sts", body=b"Action=GetCallerIdentity")
    answer = await send(sandbox, message, body=b"Action=DeleteEverything!")
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")
    assert origin.connections == 0


FOREIGN = KeyPair("AKIAFOREIGNFOREIGN01", "foreign/secret+0123456789abcdefghijklmno")


async def test_a_foreign_key_is_taken_out(world: World, origin: Origin) -> None:
    """Row 61: only our surrogate's signature passes where a key is managed."""
    sandbox = await world.sandbox(credentials=[key()])
    await send(sandbox, signed(FOREIGN, service="s3"))
    await send(sandbox, signed(FOREIGN, service="s3", expires=60))
    assert len(origin.seen) == 2
    for seen in origin.seen:
        assert seen.header("authorization") is None
        assert "Signature" not in seen.target
        assert "Credential" not in seen.target
    assert FOREIGN.access_key_id not in bytes(origin.raw).decode("latin-1")


async def test_a_foreign_key_in_a_form_is_refused(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[key()])
    answer = await request(
        sandbox,
        method="POST",
        headers="Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 0\r\n",
    )
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")
    assert origin.connections == 0


async def refused(sandbox: Sandbox, message: Signed, name: str = HOST) -> str:
    answer = await send(sandbox, message, name=name)
    assert answer.status == 403, answer
    said = json.loads(answer.body)
    assert said["obstacle"] == "credential"
    return str(said["message"])


async def test_what_is_refused(world: World, origin: Origin) -> None:
    limited = key(services=("s3",), regions=("eu-west-1",))
    sandbox = await world.sandbox("domains: ['*.example.test']", credentials=[limited])
    pair = held(sandbox)
    other = signed(pair, host="other.example.test", service="s3")
    assert "is not for this host" in await refused(sandbox, other, "other.example.test")
    query = signed(pair, host="other.example.test", service="s3", expires=9)
    assert "is not for this host" in await refused(sandbox, query, "other.example.test")
    assert "the service sts" in await refused(sandbox, signed(pair, service="sts"))
    assert "the region us-east-1" in await refused(sandbox, signed(pair, service="s3", region="us-east-1"))
    with_cookie = signed(pair, service="s3", headers={"cookie": "session=theirs"})
    assert "cookie is missing" in await refused(sandbox, with_cookie)
    with_query = signed(pair, service="s3", target="/?access_token=theirs")
    assert "another credential in its query" in await refused(sandbox, with_query)
    tampered = signed(pair, service="s3")
    tampered.target = b"/another"
    assert "does not match" in await refused(sandbox, tampered)
    secret_alone = Signed(
        "GET", HOST, b"/", [(b"Host", HOST.encode()), (b"Authorization", pair.secret.encode())]
    )
    assert "AWS_SECRET_ACCESS_KEY is not for the header" in await refused(sandbox, secret_alone)
    old = sign(pair, "GET", f"https://{HOST}/", service="s3")
    assert "older than 15 minutes" in await refused(sandbox, old)
    assert origin.connections == 0


async def test_only_over_https(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[key(scopes=("plain.allowed.test",))])
    message = signed(held(sandbox), host="plain.allowed.test", service="s3")
    head = b"GET / HTTP/1.1\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in message.headers)
    answer = parse_answer(
        await exchange(sandbox, head + b"Connection: close\r\n\r\n", name="plain.allowed.test", port=80)
    )
    assert (answer.status, b"only over https" in answer.body) == (403, True)
    assert origin.connections == 0


async def test_answers_do_not_tell_the_key(world: World, origin: Origin) -> None:
    origin.respond = lambda _: Answer(
        403, body=f"<AWSAccessKeyId>{REAL.access_key_id}</AWSAccessKeyId>".encode()
    )
    sandbox = await world.sandbox(credentials=[key()])
    answer = await send(sandbox, signed(held(sandbox), service="s3"))
    assert REAL.access_key_id.encode() not in answer.body
    assert held(sandbox).access_key_id.encode() in answer.body


async def test_a_replaced_and_a_revoked_key(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[key()])
    pair = held(sandbox)
    other = KeyPair("AKIAREALREALREAL0009", "other/secret+ABCDEFGHIJKLMNOPQRSTUVWXYZ01")
    world.engine.replace_credentials(sandbox.id, [key(other)])
    assert (await send(sandbox, signed(pair, service="s3"))).status == 200
    verified(origin.seen[0], other)
    with pytest.raises(Refused):
        verified(origin.seen[0], REAL)
    world.engine.replace_credentials(sandbox.id, [])
    assert "is not for this host" in await refused(sandbox, signed(pair, service="s3"))


async def test_a_key_that_no_allowed_host_takes(world: World) -> None:
    with pytest.raises(UnusableCredential, match="credential AWS_ACCESS_KEY_ID could never be used"):
        await world.sandbox("domains: ['other.example.test']", credentials=[key()])


async def test_a_body_that_is_inspected_cannot_be_signed(world: World, origin: Origin) -> None:
    policy = f"url_prefixes:\n  - host: {HOST}\n    path: /graphql\n    graphql: {{queries: ['*']}}\n"
    sandbox = await world.sandbox(policy, credentials=[key()])
    message = signed(
        held(sandbox), "POST", "/graphql", service="appsync", body=b'{"query": "{a}"}',
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert "is inspected" in await refused(sandbox, message)


async def test_memory_stays_constant_under_a_large_signed_body(world: World, origin: Origin) -> None:
    """The body of a hashed request streams: the first bytes arrive before the last are sent."""
    arrived = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        await reader.readexactly(100_000)
        arrived.set()
        await reader.read()

    origin.take_over = take
    sandbox = await world.sandbox(credentials=[key()])
    body = b"z" * 1_000_000
    message = signed(held(sandbox), "PUT", "/b/k", service="s3", body=body)
    head = b"PUT /b/k HTTP/1.1\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in message.headers)
    async with _opened(sandbox) as (_, writer):
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:500_000])
        await writer.drain()
        async with asyncio.timeout(10):
            await arrived.wait()


@asynccontextmanager
async def _opened(sandbox: Sandbox) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await sandbox.open(HOST, 443)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
