"""Credentials where they do not belong (field notes 21, 23, 28, 33, 59)."""

import contextlib
import json
from dataclasses import replace

import pytest

from airut_common.config.yamlfile import ConfigError
from airut_common.secrets import Secret
from airut_egress.entries import UnusableCredential
from airut_egress.testing.clients import request
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import World, bearer_credential

from .attacking import HOST, LEAF, denied


async def test_row_23_a_surrogate_for_another_host_is_refused(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']", credentials=[bearer_credential()])
    surrogate = sandbox.environment["API_KEY"]
    answer = await request(
        sandbox, name="other.example.test", headers=f"Authorization: Bearer {surrogate}\r\n"
    )
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")
    assert origin.connections == 0
    await denied(world, reason="credential", host="other.example.test")


async def test_row_21_a_foreign_credential_does_not_go_out(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    assert (
        await request(sandbox, headers="X-Api-Key: attacker\r\nCookie: a=b\r\n", target="/?api_key=mine&a=1")
    ).status == 200
    assert b"attacker" not in bytes(origin.raw)
    assert (origin.seen[0].header("cookie"), origin.seen[0].target) == (None, "/?a=1")


async def test_rows_28_and_59_no_credential_over_plain_http(world: World, origin: Origin) -> None:
    credential = bearer_credential(scopes=("plain.allowed.test",))
    sandbox = await world.sandbox(credentials=[credential])
    headers = f"Authorization: Bearer {sandbox.environment['API_KEY']}\r\n"
    answer = await request(sandbox, name="plain.allowed.test", port=80, headers=headers)
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")
    assert origin.connections == 0


async def test_row_33_new_rules_cut_old_connections(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox()
    reader, writer = await sandbox.open(HOST, 443)
    writer.write(f"GET / HTTP/1.1\r\n{LEAF}\r\n".encode())
    await reader.readuntil(b"upstream")
    config = replace(sandbox.session.config, policy="domains: [else.test]")
    assert world.engine.open(config).token == sandbox.token
    with contextlib.suppress(OSError):
        assert await reader.read() == b""
    assert (await request(sandbox)).status == 403
    writer.close()


async def test_row_33_another_policy_cuts_old_connections_and_keeps_the_rest(
    world: World, origin: Origin
) -> None:
    sandbox = await world.sandbox(
        "domains: ['*.example.test']",
        credentials=[
            bearer_credential(),
            replace(
                bearer_credential(), name="OTHER", values={"OTHER": Secret("sk-ant-other0123456789abcdefREA")}
            ),
        ],
    )
    environment = dict(sandbox.environment)
    headers = f"Authorization: Bearer {environment['API_KEY']}\r\n"
    world.engine.replace_credentials(sandbox.id, [bearer_credential()])
    reader, writer = await sandbox.open(HOST, 443)
    writer.write(f"GET / HTTP/1.1\r\n{LEAF}\r\n".encode())
    await reader.readuntil(b"upstream")
    world.engine.replace_policy(sandbox.id, "url_prefixes: [{host: api.example.test, path: /a}]", "new")
    with contextlib.suppress(OSError):
        assert await reader.read() == b""
    writer.close()
    assert (await request(sandbox, target="/b")).status == 403
    assert (await request(sandbox, target="/a", headers=headers)).status == 200
    assert (origin.seen[-1].header("authorization") or "").startswith("Bearer sk-ant-real")
    taken = f"Authorization: Bearer {environment['OTHER']}\r\n"
    answer = await request(sandbox, target="/a", headers=taken)
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")


@pytest.mark.parametrize(
    ("policy", "error"), [("domains: [a b]", ConfigError), ("domains: [else.test]", UnusableCredential)]
)
async def test_a_policy_that_cannot_be_used_leaves_the_old_one(
    world: World, origin: Origin, policy: str, error: type[Exception]
) -> None:
    sandbox = await world.sandbox(credentials=[bearer_credential()])
    generation = sandbox.session.generation
    with pytest.raises(error):
        world.engine.replace_policy(sandbox.id, policy, "new")
    assert sandbox.session.generation == generation
    assert (await request(sandbox)).status == 200
    with pytest.raises(KeyError):
        world.engine.replace_policy("nobody", "domains: []", "new")


async def test_row_33_a_revoked_credential_is_worth_nothing(world: World, origin: Origin) -> None:
    first = bearer_credential()
    sandbox = await world.sandbox(credentials=[first])
    headers = f"Authorization: Bearer {sandbox.environment['API_KEY']}\r\n"
    world.engine.replace_credentials(sandbox.id, [bearer_credential("sk-ant-another0123456789abcdefgh")])
    assert (await request(sandbox, headers=headers)).status == 200
    assert origin.seen[0].header("authorization") == "Bearer sk-ant-another0123456789abcdefgh"
    world.engine.replace_credentials(sandbox.id, [])
    answer = await request(sandbox, headers=headers)
    assert first.values["API_KEY"].reveal().encode() not in bytes(origin.raw)
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")
