"""Real clients through a real engine to a real upstream."""

import json

from airut_egress.testing.origin import Answer, Origin
from airut_egress.testing.world import World, bearer_credential


async def get(sandbox, name="api.example.test", port=443, path="/", headers="", method="GET"):
    reader, writer = await sandbox.open(name, port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n{headers}\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, body


async def test_an_allowed_request_arrives_and_is_recorded(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    status, _, body = await get(sandbox, path="/a?q=secret")
    assert (status, body) == (200, b"hello from upstream")
    assert (origin.seen[0].target, origin.seen[0].header("host")) == ("/a?q=secret", "api.example.test")
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.host, event.path, event.status) == ("allow", "api.example.test", "/a", 200)
    assert (event.bytes_in, event.method, event.port, event.scheme) == (19, "GET", 443, "https")
    assert event.duration_ms is not None


async def test_a_denied_request_gets_json_and_never_reaches_the_upstream(
    world: World, origin: Origin
) -> None:
    sandbox = await world.sandbox("domains: ['somewhere.test']")
    status, _, body = await get(sandbox)
    assert status == 403
    assert json.loads(body)["obstacle"] == "host"
    assert origin.connections == 0
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason, event.status) == ("deny", "host", 403)


async def test_plain_http(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    status, _, _ = await get(sandbox, "plain.allowed.test", 80)
    assert status == 200
    assert origin.seen[0].header("host") == "plain.allowed.test"


async def test_a_surrogate_becomes_the_real_value(world: World, origin: Origin) -> None:
    credential = bearer_credential()
    sandbox = await world.sandbox(credentials=[credential])
    surrogate = sandbox.environment["API_KEY"]
    status, _, _ = await get(sandbox, headers=f"Authorization: Bearer {surrogate}\r\n")
    assert status == 200
    assert origin.seen[0].header("authorization") == f"Bearer {credential.value.reveal()}"
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert event.credentials == ("API_KEY",)
    assert Answer
