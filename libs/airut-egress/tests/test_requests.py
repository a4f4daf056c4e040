"""Real clients through a real engine to a real upstream."""

import asyncio
import json
import ssl

import pytest
import websockets
import wsproto
import wsproto.events

from airut_common.processes import run
from airut_egress.testing.clients import client, parse_answer, request
from airut_egress.testing.origin import Answer, Origin
from airut_egress.testing.world import World, bearer_credential


async def test_an_allowed_request_arrives_and_is_recorded(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    answer = await request(sandbox, target="/a?q=secret")
    assert (answer.status, answer.body) == (200, b"hello from upstream")
    assert (origin.seen[0].target, origin.seen[0].header("host")) == ("/a?q=secret", "api.example.test")
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.host, event.path, event.status) == ("allow", "api.example.test", "/a", 200)
    assert (event.bytes_in, event.method, event.port, event.scheme) == (19, "GET", 443, "https")
    assert event.reason == "domains[0] api.example.test"
    assert event.duration_ms is not None


async def test_a_denied_request_gets_json_and_never_reaches_the_upstream(
    world: World, origin: Origin
) -> None:
    sandbox = await world.sandbox("domains: ['somewhere.test']")
    answer = await request(sandbox)
    assert answer.status == 403
    assert json.loads(answer.body)["obstacle"] == "host"
    assert origin.connections == 0
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason, event.status) == ("deny", "host", 403)


async def test_plain_http(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    answer = await request(sandbox, name="plain.allowed.test", port=80)
    assert answer.status == 200
    assert origin.seen[0].header("host") == "plain.allowed.test"


async def test_a_surrogate_becomes_the_real_value(world: World, origin: Origin) -> None:
    credential = bearer_credential()
    sandbox = await world.sandbox(credentials=[credential])
    surrogate = sandbox.environment["API_KEY"]
    answer = await request(sandbox, headers=f"Authorization: Bearer {surrogate}\r\n")
    assert answer.status == 200
    assert origin.seen[0].header("authorization") == f"Bearer {credential.values['API_KEY'].reveal()}"
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert event.credentials == ("API_KEY",)
    assert credential.values["API_KEY"].reveal() not in repr(world.recorder.events)


@pytest.mark.parametrize("http2", [False, True])
async def test_httpx_keeps_its_connection_and_posts_bodies(world: World, origin: Origin, http2: bool) -> None:
    origin.respond = lambda seen: Answer(body=seen.body[::-1])
    sandbox = await world.sandbox()
    async with client(sandbox, http2=http2) as http:
        for number in range(5):
            body = f"number {number}".encode() * 1000
            answer = await http.post("https://api.example.test/echo", content=body)
            assert (answer.status_code, answer.content) == (200, body[::-1])
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert origin.connections == 1
    assert {seen.version for seen in origin.seen} == {"HTTP/2" if http2 else "HTTP/1.1"}
    assert len(world.recorder.of("request")) == 5
    assert world.recorder.of("request")[0].bytes_out == 8000


async def test_concurrent_http2_streams_are_judged_one_by_one(world: World, origin: Origin) -> None:
    """Field notes 16: per stream, not per connection."""
    policy = "url_prefixes: [{host: api.example.test, path: '/good/*'}]"
    sandbox = await world.sandbox(policy)
    async with client(sandbox, http2=True) as http:
        paths = [f"/good/{n}" if n % 2 else f"/bad/{n}" for n in range(40)]
        answers = await asyncio.gather(*(http.get(f"https://api.example.test{path}") for path in paths))
    assert [a.status_code for a in answers] == [200 if n % 2 else 403 for n in range(40)]
    assert {seen.target for seen in origin.seen} == {path for path in paths if "good" in path}
    assert len(world.recorder.of("request")) == 40


@pytest.mark.parametrize("http2", [False, True])
async def test_a_client_survives_a_denial_on_its_connection(
    world: World, origin: Origin, http2: bool
) -> None:
    sandbox = await world.sandbox("url_prefixes: [{host: api.example.test, path: /ok}]")
    async with client(sandbox, http2=http2) as http:
        for target, status in [("/no", 403), ("/ok", 200), ("/no", 403), ("/ok", 200)]:
            assert (await http.get(f"https://api.example.test{target}")).status_code == status
    assert [seen.target for seen in origin.seen] == ["/ok", "/ok"]


@pytest.mark.parametrize(
    ("agent", "media_type"), [("git/2.39.5", "text/plain"), ("git-lfs/3.3.0 (GitHub)", "application/json")]
)
async def test_git_gets_a_denial_that_it_shows(world: World, agent: str, media_type: str) -> None:
    sandbox = await world.sandbox("url_prefixes: [{host: api.example.test, path: /ok}]")
    async with client(sandbox) as http:
        answer = await http.get("https://api.example.test/no", headers={"User-Agent": agent})
    assert (answer.status_code, answer.headers["content-type"]) == (403, media_type)
    assert "The network allowlist allows this host, but not this path." in answer.text


async def test_head_and_empty_answers(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox("url_prefixes: [{host: api.example.test, path: /ok}]")
    async with client(sandbox) as http:
        assert (await http.head("https://api.example.test/no")).status_code == 403
        assert (await http.head("https://api.example.test/ok")).headers["content-length"] == "19"
        origin.respond = lambda _: Answer(204, body=b"")
        assert (await http.get("https://api.example.test/ok")).status_code == 204
        origin.respond = lambda _: Answer(304, body=b"")
        assert (await http.get("https://api.example.test/ok")).status_code == 304


async def test_curl(world: World, origin: Origin, tmp_path) -> None:
    sandbox = await world.sandbox()
    (tmp_path / "ca.pem").write_text(sandbox.ca_certificate)
    with sandbox.expect("api.example.test", 443) as reserved:
        port = reserved.getsockname()[1]
    done = await run(
        [
            "curl", "-sS", "--http2", "--cacert", str(tmp_path / "ca.pem"), "--local-port", str(port),
            "--connect-to", f"::127.0.0.1:{sandbox.address[1]}", "-w", "%{http_version}", "https://api.example.test/x",
        ],
        timeout_seconds=20,
    )  # fmt: skip
    assert done.stdout == b"hello from upstream2"
    assert origin.seen[0].target == "/x"


async def test_streamed_answers_arrive_as_they_are_sent(world: World, origin: Origin) -> None:
    """Server-sent events: nothing waits for the end."""
    go_on = asyncio.Event()

    async def take_over(_reader, writer, _head) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go_on.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
        await writer.drain()

    origin.take_over = take_over
    sandbox = await world.sandbox()
    async with client(sandbox) as http, http.stream("GET", "https://api.example.test/") as answer:
        parts = answer.aiter_raw()
        assert await anext(parts) == b"first"
        go_on.set()
        assert await anext(parts) == b"second"
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.bytes_in) == ("allow", 11)


async def test_a_streamed_upload_arrives_chunked(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()

    async def parts():
        for _ in range(20):
            yield b"x" * 10_000

    async with client(sandbox) as http:
        assert (await http.post("https://api.example.test/", content=parts())).status_code == 200
    assert len(origin.seen[0].body) == 200_000
    assert origin.seen[0].header("transfer-encoding") == "chunked"


async def test_expect_100_continue_comes_only_for_what_is_allowed(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox("url_prefixes: [{host: api.example.test, path: /ok}]")
    for target, first in [("/ok", b"HTTP/1.1 100"), ("/no", b"HTTP/1.1 403")]:
        reader, writer = await sandbox.open("api.example.test", 443)
        writer.write(
            f"PUT {target} HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 3\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n")).startswith(first)
        writer.write(b"abc")
        writer.close()
    await world.recorder.wait(lambda e: e.kind == "request" and e.decision == "deny")
    assert all(seen.target == "/ok" for seen in origin.seen)


async def test_websockets_pass_and_are_counted(world: World, origin: Origin) -> None:
    """Field notes 17."""
    origin.take_over = echo_websocket
    sandbox = await world.sandbox()
    sock = await sandbox.dial("api.example.test", 443)
    async with websockets.connect(
        "wss://api.example.test/ws", sock=sock, ssl=sandbox.ssl_context(), proxy=None, max_size=None
    ) as ws:
        await ws.send("text")
        assert await ws.recv() == "text"
        await ws.send(b"\x00" * 300_000)
        assert len(await ws.recv()) == 300_000
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.status, event.bytes_out, event.bytes_in) == ("allow", 101, 300_004, 300_004)
    assert b"sec-websocket-extensions" not in bytes(origin.raw).lower()


async def test_row_24_a_websocket_brings_no_credential_back(world: World, origin: Origin) -> None:
    origin.take_over = echo_websocket
    credential = bearer_credential()
    sandbox = await world.sandbox(credentials=[credential])
    real, surrogate = credential.values["API_KEY"].reveal(), sandbox.environment["API_KEY"]
    sock = await sandbox.dial("api.example.test", 443)
    async with websockets.connect(
        "wss://api.example.test/ws", sock=sock, ssl=sandbox.ssl_context(), proxy=None, max_size=None
    ) as ws:
        # The agent cannot know the value; sending it is how this upstream is made to say it.
        await ws.send(f"it is {real}, says ü {real[:5]}")
        assert await ws.recv() == f"it is {surrogate}, says ü {real[:5]}"
        await ws.send([real[:9].encode(), real[9:].encode()])
        assert await ws.recv() == surrogate.encode()
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert event.tags == ("scrubbed",)


async def echo_websocket(reader, writer, head) -> None:
    connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    connection.receive_data(head)
    while True:
        for event in connection.events():
            match event:
                case wsproto.events.Request():
                    writer.write(connection.send(wsproto.events.AcceptConnection()))
                case wsproto.events.Message():
                    writer.write(
                        connection.send(
                            wsproto.events.Message(data=event.data, message_finished=event.message_finished)
                        )
                    )
                case wsproto.events.CloseConnection():
                    writer.write(connection.send(event.response()))
                    await writer.drain()
                    return
        await writer.drain()
        data = await reader.read(65536)
        connection.receive_data(data or None)


@pytest.mark.integration
async def test_an_upstream_that_is_down_is_told_and_tried_again(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox("domains: [gone.allowed.test, api.example.test]")
    reader, writer = await sandbox.open("gone.allowed.test", 443)
    writer.write(b"GET / HTTP/1.1\r\nHost: gone.allowed.test\r\n\r\n")
    answer = parse_answer(await reader.read())
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (502, "upstream-unknown")
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason, event.status) == ("error", "upstream-unknown", 502)
    writer.close()


async def test_an_upstream_with_a_wrong_certificate_is_not_believed(world: World, origin: Origin) -> None:
    """Field notes 28, 59: a credential leaves over verified TLS only. The certificate has no name like this one."""
    world.engine._means.resolver._connect_to["wrong.allowed.test"] = world.engine._means.resolver._connect_to[
        "api.example.test"
    ]
    sandbox = await world.sandbox("domains: [wrong.allowed.test]")
    answer = await request(sandbox, name="wrong.allowed.test")
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (502, "upstream-tls")
    assert origin.seen == []
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason) == ("error", "upstream-tls")


async def test_an_upstream_that_leads_to_a_private_address_is_refused(world: World) -> None:
    """Field notes 7, 8."""
    resolver = world.engine._means.resolver

    async def resolve(host: str, port: int):
        from airut_egress.resolver import UpstreamRefused

        raise UpstreamRefused(f"{host} leads to 10.0.0.1: private")

    resolver.resolve = resolve
    sandbox = await world.sandbox("domains: [inner.allowed.test]")
    answer = await request(sandbox, name="inner.allowed.test")
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "upstream-refused")
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason, event.status) == ("deny", "upstream-refused", 403)


async def test_a_redirect_is_a_fresh_check(world: World, origin: Origin) -> None:
    """Field notes 18."""
    origin.respond = lambda _: Answer(302, [("location", "https://other.example.test/")])
    sandbox = await world.sandbox()
    async with client(sandbox) as http:
        answer = await http.get("https://api.example.test/", follow_redirects=True)
    assert answer.status_code == 403
    assert len(origin.seen) == 1


async def test_alternative_services_are_not_told(world: World, origin: Origin) -> None:
    """Field notes 5."""
    origin.respond = lambda _: Answer(headers=[("alt-svc", 'h3=":443"'), ("x-other", "kept")])
    for http2 in (False, True):
        async with client(await world.sandbox(), http2=http2) as http:
            answer = await http.get("https://api.example.test/")
            assert "alt-svc" not in answer.headers
            assert answer.headers["x-other"] == "kept"


async def test_the_certificate_is_for_the_name_and_by_the_installations_authority(world: World) -> None:
    sandbox = await world.sandbox()
    _, writer = await sandbox.open("api.example.test", 443)
    certificate = writer.get_extra_info("peercert")
    assert certificate["subjectAltName"] == (("DNS", "api.example.test"),)
    writer.close()
    sock = await sandbox.dial("api.example.test", 443)
    distrusting = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(sock=sock, ssl=distrusting, server_hostname="api.example.test")
    event = await world.recorder.wait(lambda e: e.kind == "connection" and e.reason.startswith("tls"))
    assert event.decision == "error"


async def test_a_client_that_leaves_early_leaves_an_event(world: World, origin: Origin) -> None:
    started = asyncio.Event()

    async def take_over(reader, writer, _head) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome")
        started.set()
        await reader.read()

    origin.take_over = take_over
    sandbox = await world.sandbox()
    reader, writer = await sandbox.open("api.example.test", 443)
    writer.write(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n")
    await started.wait()
    await reader.readuntil(b"some")
    writer.transport.abort()
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason, event.status) == ("error", "interrupted", 200)
