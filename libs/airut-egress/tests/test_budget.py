"""Field notes 22: how much may go to a host."""

from dataclasses import replace

import pytest
import websockets

from airut_egress.budget import Sent, UploadLimits
from airut_egress.policy import BadPattern
from airut_egress.testing.clients import client, request
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import Sandbox, World

from .test_requests import echo_websocket

LIMITS = UploadLimits.parse({"*.example.test": 100, "api.example.test": 60})


def test_each_pattern_that_fits_has_to_have_room() -> None:
    sent = Sent()
    assert sent.has_room(LIMITS, "api.example.test", 60)
    assert not sent.has_room(LIMITS, "api.example.test", 61)
    sent.add(LIMITS, "other.example.test", 50)
    assert sent.has_room(LIMITS, "api.example.test", 50)
    assert not sent.has_room(LIMITS, "api.example.test", 51)
    assert sent.has_room(LIMITS, "elsewhere.test", 10**12)


def test_a_bad_pattern_is_an_error() -> None:
    with pytest.raises(BadPattern):
        UploadLimits.parse({"https://example.test": 1})


@pytest.fixture
async def sandbox(world: World) -> Sandbox:
    made = await world.sandbox()
    world.engine.reconfigure(replace(world.engine._settings, upload_limits={"api.example.test": 5000}))
    return made


async def test_what_is_known_to_be_too_much_never_reaches_the_upstream(
    world: World, origin: Origin, sandbox: Sandbox
) -> None:
    answer = await request(sandbox, method="POST", headers="Content-Length: 6000\r\n")
    assert answer.status == 413
    assert b"sent as much to this host" in answer.body
    assert origin.connections == 0
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason, event.status) == ("deny", "budget", 413)


async def test_a_body_without_a_length_is_cut_and_never_looks_whole(
    world: World, origin: Origin, sandbox: Sandbox
) -> None:
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    answer = await request(
        sandbox, method="POST", headers="Transfer-Encoding: chunked\r\n", body=chunk * 9 + b"0\r\n\r\n"
    )
    assert answer.status == 0
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason) == ("deny", "budget")
    assert origin.seen == []


async def test_long_urls_and_headers_count(origin: Origin, sandbox: Sandbox) -> None:
    async with client(sandbox) as http:
        answers = [await http.get(f"https://api.example.test/{'a' * 900}") for _ in range(6)]
        other = await http.get("https://one.allowed.test/")
    assert [answer.status_code for answer in answers] == [200] * 4 + [413] * 2
    assert other.status_code == 200


async def test_frames_of_a_websocket_count(world: World, origin: Origin, sandbox: Sandbox) -> None:
    origin.take_over = echo_websocket
    sock = await sandbox.dial("api.example.test", 443)
    async with websockets.connect(
        "wss://api.example.test/ws", sock=sock, ssl=sandbox.ssl_context(), proxy=None, max_size=None
    ) as ws:
        await ws.send(b"x" * 2000)
        assert len(await ws.recv()) == 2000
        await ws.send(b"x" * 4000)
        with pytest.raises(websockets.ConnectionClosed):
            await ws.recv()
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.decision, event.reason) == ("deny", "budget")


async def test_opening_again_starts_no_new_budget(world: World, sandbox: Sandbox) -> None:
    await request(sandbox, method="POST", headers="Content-Length: 4000\r\n", body=b"x" * 4000)
    config = replace(sandbox.session.config, policy="domains: ['api.example.test']\n")
    world.engine.open(config)
    answer = await request(sandbox, method="POST", headers="Content-Length: 4000\r\n", body=b"x" * 4000)
    assert answer.status == 413
