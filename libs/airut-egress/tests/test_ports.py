"""Ports that an operator opens besides 80 and 443."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from airut_common.config.models import EgressConfig
from airut_common.config.yamlfile import ConfigError, load_yaml_model
from airut_egress.engine import EngineSettings
from airut_egress.testing.clients import client, exchange, parse_answer
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import Sandbox, World, bearer_credential, running_world

HOST = "api.example.test"


@pytest.fixture
async def world(origin: Origin, tmp_path: Path) -> AsyncIterator[World]:
    settings = EngineSettings(
        connect_to={HOST: origin.tls_address, "plain.allowed.test": origin.plain_address},
        ca_file=origin.write_ca(tmp_path / "upstream-ca.pem"),
        ports={8443: "https", 8080: "http"},
    )
    async with running_world(tmp_path / "state", settings) as world:
        yield world


async def ask(sandbox: Sandbox, port: int, *, name: str = HOST, host: str, headers: str = "") -> int:
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n".encode()
    return parse_answer(await exchange(sandbox, request, name=name, port=port)).status


@pytest.mark.parametrize("http2", [False, True])
async def test_https_with_a_credential(world: World, origin: Origin, http2: bool) -> None:
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    token = sandbox.environment["API_KEY"]
    async with client(sandbox, http2=http2) as http:
        answer = await http.get(f"https://{HOST}:8443/", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    (seen,) = origin.seen
    assert seen.header(":authority" if http2 else "host") == f"{HOST}:8443"
    assert (seen.header("authorization") or "").startswith("Bearer sk-ant-real")
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert (event.scheme, event.port, event.decision) == ("https", 8443, "allow")


async def test_plain_http(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    name = "plain.allowed.test"
    assert await ask(sandbox, 8080, name=name, host=f"{name}:8080") == 200
    assert origin.seen[0].header("host") == f"{name}:8080"


@pytest.mark.parametrize("host", [HOST, f"{HOST}:443", f"{HOST}:8080"])
async def test_the_port_in_the_name_is_the_one_that_was_dialled(
    world: World, origin: Origin, host: str
) -> None:
    sandbox = await world.sandbox()
    assert await ask(sandbox, 8443, host=host) == 421
    assert origin.connections == 0


async def test_what_is_not_opened_stays_closed(world: World) -> None:
    sandbox = await world.sandbox()
    with contextlib.suppress(ConnectionResetError):
        assert await ask(sandbox, 8444, host=f"{HOST}:8444") == 0
    event = await world.recorder.wait(lambda e: e.kind == "connection")
    assert (event.decision, event.reason, event.port) == ("deny", "port", 8444)


def test_the_configuration() -> None:
    found = load_yaml_model("ports: {8443: https, 8080: http}", "airut.yaml", EgressConfig)
    assert found.ports == {8443: "https", 8080: "http"}
    for text in ("ports: {0: https}", "ports: {x: https}", "ports: {8443: tcp}", "ports: [8443]"):
        with pytest.raises(ConfigError, match=r"airut.yaml:1: ports"):
            load_yaml_model(text, "airut.yaml", EgressConfig)
