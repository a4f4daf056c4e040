"""Configuration on the bus: only what changed is written, and the last good version stays in force."""

import asyncio

import pytest

from airut_common.bus import Bus, open_bus
from airut_common.bus.server import NatsServer
from airut_common.bus.topology import CONFIG_BUCKET
from airut_common.config.models import InstallationConfig
from airut_common.config.store import NoConfiguration, apply_config, watch_config
from airut_common.config.yamlfile import load_yaml_model

LIMIT = 20


def installation(*repos: str, max_concurrent: int = 4) -> InstallationConfig:
    lines = [f"max_concurrent: {max_concurrent}"] + (["repos:"] if repos else [])
    for repo in repos:
        lines += [
            f"  {repo}:",
            f"    address: {repo}@airut.example",
            '    senders: ["*@lovelace.example"]',
            "    git: {url: https://git.demo.example/demo.git, push_credential: GIT_TOKEN}",
            "    credentials: {GIT_TOKEN: {scopes: [git.demo.example], headers: [authorization]}}",
            "    limits: {cpus: 0.5}",
        ]
    return load_yaml_model("\n".join(lines), "airut.yaml", InstallationConfig)


async def test_only_what_changed_is_written_and_what_vanished_is_deleted(bus: Bus) -> None:
    assert await apply_config(bus, installation("a", "b")) == [
        "server added",
        "repos.a added",
        "repos.b added",
    ]
    stored = await bus.stream_size(f"KV_{CONFIG_BUCKET}")
    assert await apply_config(bus, installation("a", "b")) == []
    assert await bus.stream_size(f"KV_{CONFIG_BUCKET}") == stored
    changes = await apply_config(bus, installation("b", "c", max_concurrent=9))
    assert changes == ["server changed", "repos.c added", "repos.a removed"]
    assert await apply_config(bus, installation("a", "b", "c", max_concurrent=9)) == ["repos.a added"]


async def test_keys_of_services_are_not_configuration_of_repositories(bus: Bus) -> None:
    await bus.kv_put(CONFIG_BUCKET, "keys.egress-proxy", b"public")
    await apply_config(bus, installation())
    entry = await bus.kv_get(CONFIG_BUCKET, "keys.egress-proxy")
    assert entry is not None


async def test_what_was_applied_is_what_a_service_reads(bus: Bus) -> None:
    wanted = installation("a", "b")
    await apply_config(bus, wanted)
    async with watch_config(bus) as config:
        assert config.server == wanted.server()
        assert config.repos == wanted.repos


async def test_without_configuration_a_service_says_what_to_do(bus: Bus) -> None:
    with pytest.raises(NoConfiguration, match="airut apply"):
        async with watch_config(bus):
            pass


async def test_with_nothing_but_a_broken_configuration_a_service_says_what_is_wrong(bus: Bus) -> None:
    await bus.kv_put(CONFIG_BUCKET, "server", b'{"max_concurrent": 0}')
    with pytest.raises(NoConfiguration, match="server: max_concurrent: must be 1 or more"):
        async with watch_config(bus):
            pass


async def test_changes_arrive_and_none_is_missed(bus: Bus) -> None:
    await apply_config(bus, installation("a"))
    async with watch_config(bus) as config:
        await apply_config(bus, installation("b", max_concurrent=2))

        async def until(condition) -> None:
            async with asyncio.timeout(LIMIT):
                while not condition():
                    await config.wait_changed()

        await until(lambda: config.server.max_concurrent == 2 and set(config.repos) == {"b"})


async def test_an_invalid_entry_leaves_the_last_good_one_and_is_said_in_words(bus: Bus) -> None:
    await apply_config(bus, installation("a", "b"))
    said: asyncio.Queue[str] = asyncio.Queue()

    async def on_problem(text: str) -> None:
        said.put_nowait(text)

    async with watch_config(bus, on_problem=on_problem) as config:
        before = config.repos["a"]
        await bus.kv_put(
            CONFIG_BUCKET, "repos.a", b'{"address": "a@x.example", "senders": "*@x.example", "x": 1}'
        )
        text = await asyncio.wait_for(said.get(), LIMIT)
        assert text.startswith("the last good configuration stays in force: repos.a: ")
        assert "senders: must be a list" in text
        assert "x: unknown key" in text
        await bus.kv_put(CONFIG_BUCKET, "repos.a", b"not json")
        assert "repos.a" in await asyncio.wait_for(said.get(), LIMIT)
        assert config.repos["a"] == before
        await apply_config(bus, installation("a", "b", max_concurrent=7))
        async with asyncio.timeout(LIMIT):
            while config.server.max_concurrent != 7:
                await config.wait_changed()


async def test_a_problem_handler_that_fails_does_not_end_the_watching(bus: Bus) -> None:
    await apply_config(bus, installation())

    async def on_problem(_: str) -> None:
        raise ZeroDivisionError

    async with watch_config(bus, on_problem=on_problem) as config:
        await bus.kv_put(CONFIG_BUCKET, "repos.x", b"{}")
        await apply_config(bus, installation(max_concurrent=3))
        async with asyncio.timeout(LIMIT):
            while config.server.max_concurrent != 3:
                await config.wait_changed()


async def test_a_restart_of_the_server_is_no_change(nats_server: NatsServer, bus: Bus) -> None:
    await apply_config(bus, installation("a"))
    async with watch_config(bus) as config:
        await nats_server.kill()
        await nats_server.start()
        async with open_bus(nats_server.url, name="admin", nkey_seed_file=None) as admin:
            await apply_config(admin, installation("a", max_concurrent=3))
        await asyncio.wait_for(config.wait_changed(), LIMIT)
        assert config.server.max_concurrent == 3
        assert not config._changed.is_set()
