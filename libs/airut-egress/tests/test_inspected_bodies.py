"""Requests that are judged on their bodies: collected, judged, and sent as they were judged (field notes 20)."""

import asyncio
import json
import threading
from dataclasses import replace

import pytest

from airut_egress import inspection
from airut_egress.addons import filters
from airut_egress.policy import graphql
from airut_egress.testing.clients import client, first_answer, request
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import Sandbox, World, bearer_credential

POLICY = """
url_prefixes:
  - {host: api.example.test, path: /graphql, graphql: {queries: [viewer, repo*]}}
  - {host: api.example.test, path: /graphql, graphql: {mutations: [addComment]}}
  - {host: api.example.test, path: /rest/*}
"""
QUERY = b'{ "query" : "query  { viewer { login } }" }'


@pytest.fixture
async def sandbox(world: World) -> Sandbox:
    return await world.sandbox(POLICY, credentials=[bearer_credential()])


def post(body: bytes, *lines: str, target: str = "/graphql") -> bytes:
    head = [f"POST {target} HTTP/1.1", "Host: api.example.test", "Content-Type: application/json", *lines]
    if not any("transfer-encoding" in line.lower() for line in lines):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


@pytest.mark.parametrize("http2", [False, True])
async def test_what_was_judged_is_what_is_sent(
    world: World, origin: Origin, sandbox: Sandbox, http2: bool
) -> None:
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {sandbox.environment['API_KEY']}",
    }
    async with client(sandbox, http2=http2) as http:
        answer = await http.post("https://api.example.test/graphql", content=QUERY, headers=headers)
    assert answer.status_code == 200
    [seen] = origin.seen
    assert json.loads(seen.body) == {"query": "query { viewer { login } }"}
    assert seen.header("content-length") == str(len(seen.body))
    assert seen.header("authorization") == "Bearer sk-ant-real0123456789abcdefREAL"
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason) == ("allow", "url_prefixes[0] api.example.test /graphql")
    assert event.bytes_out == len(seen.body)


async def test_rules_are_tried_in_order_and_the_first_that_allows_wins(
    world: World, sandbox: Sandbox
) -> None:
    mutation = b'{"query":"mutation { addComment(a: 1) { id } }"}'
    assert (await first_answer(sandbox, post(mutation))).status == 200
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert event.reason == "url_prefixes[1] api.example.test /graphql"


async def test_a_plain_rule_beside_it_allows_without_looking(world: World, origin: Origin) -> None:
    policy = "domains: [api.example.test]\n" + POLICY
    sandbox = await world.sandbox(policy)
    assert (await first_answer(sandbox, post(b"not json"))).status == 200
    assert origin.seen[0].body == b"not json"


@pytest.mark.parametrize(
    ("data", "status", "obstacle"),
    [
        (post(b'{"query":"mutation { deleteRepo }"}'), 403, "graphql"),
        (post(b'{"query":"{ viewer { login } users { id } }"}'), 403, "graphql"),
        (post(b"[]"), 403, "graphql"),
        (post(b""), 403, "graphql"),
        (post(QUERY, "Content-Encoding: gzip"), 403, "graphql"),
        (post(QUERY, "Content-Type: application/json"), 403, "body"),
        (post(QUERY, "X-HTTP-Method-Override: DELETE", target="/graphql?query={users{id}}"), 403, "graphql"),
        (b"GET /graphql?query={viewer{login}} HTTP/1.1\r\nHost: api.example.test\r\n\r\n", 403, "graphql"),
    ],
)
async def test_what_is_not_allowed_reaches_nobody(
    world: World, origin: Origin, sandbox: Sandbox, data: bytes, status: int, obstacle: str
) -> None:
    answer = await first_answer(sandbox, data)
    assert answer.status == status
    said = json.loads(answer.body)
    assert said["obstacle"] == obstacle
    assert "(" in said["message"]
    assert origin.connections == 0
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason, event.credentials) == ("deny", obstacle, ())


async def test_a_refused_body_used_no_credential(world: World, sandbox: Sandbox) -> None:
    line = f"Authorization: Bearer {sandbox.environment['API_KEY']}"
    assert (await first_answer(sandbox, post(b"{}", line))).status == 403
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert event.credentials == ()


async def test_overriding_headers_go_no_further(origin: Origin, sandbox: Sandbox) -> None:
    await first_answer(sandbox, post(QUERY, "X-HTTP-Method-Override: GET", "X-Original-URL: /admin"))
    [seen] = origin.seen
    assert seen.header("x-http-method-override") is None
    assert seen.header("x-original-url") is None


async def test_a_chunked_body_gets_a_length(origin: Origin, sandbox: Sandbox) -> None:
    chunks = b"%x\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(QUERY), QUERY)
    answer = await first_answer(sandbox, post(chunks, "Transfer-Encoding: chunked"))
    assert answer.status == 200
    [seen] = origin.seen
    assert seen.header("transfer-encoding") is None
    assert seen.header("content-length") == str(len(seen.body))
    assert seen.header("x-trailer") is None


async def test_one_connection_goes_on_after_a_refusal(origin: Origin, sandbox: Sandbox) -> None:
    async with client(sandbox) as http:
        for query, status in (
            ("{users{id}}", 403),
            ("{viewer{id}}", 200),
            ("{users{id}}", 403),
            ("{repo{id}}", 200),
        ):
            answer = await http.post("https://api.example.test/graphql", json={"query": query})
            assert answer.status_code == status
    assert len(origin.seen) == 2
    assert origin.connections == 1


async def test_a_large_body_is_judged_aside(
    world: World, origin: Origin, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    judge = graphql.judge

    def noting(*arguments, **options):
        threads.append(threading.current_thread().name)
        return judge(*arguments, **options)

    monkeypatch.setattr(filters, "judge", noting)
    async with client(sandbox) as http:
        for size, status, query in (
            (10, 200, "{viewer{id}}"),
            (100_000, 200, "{viewer{id}}"),
            (100_000, 403, "{users{id}}"),
        ):
            sent = {"query": query, "variables": {"a": "x" * size}}
            answer = await http.post("https://api.example.test/graphql", json=sent)
            assert answer.status_code == status
    assert threads[0] == threading.main_thread().name
    assert threading.main_thread().name not in threads[1:]
    assert len(origin.seen) == 2


async def test_row_20_a_body_that_is_too_large_is_refused(
    world: World, origin: Origin, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "MAX_BODY_BYTES", 1000)
    answer = await request(
        sandbox,
        method="POST",
        target="/graphql",
        headers="Content-Type: application/json\r\nContent-Length: 3000\r\n",
        body=QUERY + b" " * (3000 - len(QUERY)),
    )
    assert answer.status == 413
    assert origin.connections == 0
    assert sandbox.session.collected == 0


async def test_row_22_a_chunked_body_above_an_upload_limit_is_answered(
    world: World, origin: Origin, sandbox: Sandbox
) -> None:
    world.engine.reconfigure(replace(world.engine._settings, upload_limits={"api.example.test": 1000}))
    body = json.dumps({"query": "{viewer{id}}", "variables": {"a": "x" * 2000}}).encode()
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    answer = await first_answer(sandbox, post(chunks, "Transfer-Encoding: chunked"))
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (413, "budget")
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason, event.bytes_out) == ("deny", "budget", 0)
    assert origin.connections == 0


async def test_row_35_many_bodies_at_once_are_bounded(
    world: World, origin: Origin, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "MAX_SESSION_BYTES", 5000)
    begun = [await sandbox.open("api.example.test", 443) for _ in range(4)]
    for _, writer in begun:
        writer.write(post(b" " * 2000)[:-1])
    reads = [asyncio.create_task(reader.read(12)) for reader, _ in begun]
    done, waiting = await asyncio.wait(reads, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert {read.result() for read in done} == {b"HTTP/1.1 413"}
    assert waiting
    for read in waiting:
        read.cancel()
    for _, writer in begun:
        writer.transport.abort()
    await world.recorder.wait(lambda e: e.reason == "interrupted")
    async with asyncio.timeout(10):
        while sandbox.session.collected:
            await asyncio.sleep(0.01)


async def test_a_rule_that_changes_while_the_body_comes_holds(
    world: World, origin: Origin, sandbox: Sandbox
) -> None:
    reader, writer = await sandbox.open("api.example.test", 443)
    writer.write(post(QUERY)[:-5])
    await writer.drain()
    sandbox.session.generation += 1
    writer.write(QUERY[-5:])
    async with asyncio.timeout(10):
        assert (await reader.read(12)) in {b"HTTP/1.1 403", b""}
    writer.transport.abort()
    assert origin.connections == 0
