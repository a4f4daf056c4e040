"""Channels of the agent: a real registry over HTTPS that changes its mind, answers nonsense, or is away."""

import os
import platform
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airut_sandbox import agent_channel
from airut_sandbox.agent_binary import PACKAGE, AgentUnavailable, platform_name
from airut_sandbox.agent_channel import Agents
from airut_sandbox.testing.https_server import Authority
from airut_sandbox.testing.npm_registry import NpmRegistry

NAME = f"{PACKAGE}-{platform_name(platform.machine(), 'glibc')}"


class Bench:
    def __init__(self, folder: Path, registry: NpmRegistry, authority: Authority) -> None:
        self.folder, self.registry = folder, registry
        self.agents = Agents(folder, registry=registry.url, ca_file=authority.file)

    def publish(self, version: str, *channels: str) -> None:
        self.registry.put(PACKAGE, version, {"package/package.json": b"{}"})
        self.registry.put(NAME, version, {"package/claude": version.encode()})
        for channel in channels:
            self.registry.tags[f"{PACKAGE}@{channel}"] = version

    def forget(self) -> None:
        """As if ten minutes had passed."""
        self.agents._known.clear()


@pytest.fixture
def bench(tmp_path: Path, npm_registry: NpmRegistry, authority: Authority) -> Bench:
    return Bench(tmp_path / "agents", npm_registry, authority)


async def test_a_channel_is_the_version_that_it_names_now_and_old_ones_stay(bench: Bench) -> None:
    bench.publish("1.9.0", "latest", "stable")
    assert (await bench.agents.ensure("latest")).version == "1.9.0"
    bench.publish("1.10.0", "latest")
    bench.forget()
    latest, stable = await bench.agents.ensure("latest"), await bench.agents.ensure("stable")
    assert (latest.version, latest.path.read_bytes(), latest.note) == ("1.10.0", b"1.10.0", None)
    assert (stable.version, stable.path.read_bytes()) == ("1.9.0", b"1.9.0")
    assert (await bench.agents.ensure("1.9.0")).path == stable.path


async def test_it_is_asked_for_once_in_a_while(bench: Bench) -> None:
    bench.publish("1.0.0", "latest")
    await bench.agents.ensure("latest")
    bench.registry.requests.clear()
    for _ in range(5):
        await bench.agents.ensure("latest")
    assert bench.registry.requests == []


async def test_without_the_registry_the_last_answer_counts_and_is_told(bench: Bench, tmp_path: Path) -> None:
    bench.publish("1.0.0", "stable")
    bench.publish("2.0.0", "latest")
    await bench.agents.ensure("latest")
    await bench.agents.ensure("stable")
    bench.registry.status = 503
    bench.forget()
    found = await bench.agents.ensure("stable")
    assert found.version == "1.0.0"
    assert found.note is not None
    assert "HTTP 503" in found.note
    assert "version 1.0.0, which was here" in found.note
    assert (await bench.agents.ensure("stable")).note == found.note, "every task is told"


async def test_without_an_answer_ever_the_newest_that_is_here_is_the_latest(bench: Bench) -> None:
    for version in ("1.9.0", "1.10.0", "2.0.0-beta.1"):
        bench.publish(version)
        await bench.agents.ensure(version)
    assert (await bench.agents.ensure("latest")).version == "1.10.0"
    with pytest.raises(AgentUnavailable, match="channel stable"):
        await bench.agents.ensure("stable")


async def test_a_version_that_cannot_be_fetched_is_not_what_a_channel_means(bench: Bench) -> None:
    bench.publish("1.0.0", "latest")
    await bench.agents.ensure("latest")
    bench.publish("1.1.0", "latest")
    del bench.registry.packages[f"{NAME}@1.1.0"]
    bench.forget()
    found = await bench.agents.ensure("latest")
    assert (found.version, "no such version" in (found.note or "")) == ("1.0.0", True)


@pytest.mark.parametrize("answer", ["../../etc", "1.0", "latest", ""])
async def test_an_answer_that_is_no_version_is_not_believed(bench: Bench, answer: str) -> None:
    bench.registry.put(PACKAGE, answer, {"package/package.json": b"{}"})
    bench.registry.tags[f"{PACKAGE}@stable"] = answer
    with pytest.raises(AgentUnavailable):
        await bench.agents.ensure("stable")
    assert not list(bench.folder.rglob("claude"))


@pytest.mark.parametrize("wanted", ["../x", "Latest", "1.0.0.0", "", "a b", "-x"])
async def test_what_is_neither_a_version_nor_a_channel_is_refused(bench: Bench, wanted: str) -> None:
    with pytest.raises(AgentUnavailable, match="neither a version"):
        await bench.agents.ensure(wanted)
    assert bench.registry.requests == []


async def test_a_registry_that_hangs_holds_nobody_up_for_long(bench: Bench, monkeypatch) -> None:
    bench.publish("1.0.0", "latest")
    await bench.agents.ensure("latest")
    monkeypatch.setattr(agent_channel, "_ASK_SECONDS", 0.0)
    bench.forget()
    found = await bench.agents.ensure("latest")
    assert "did not answer within" in (found.note or "")


async def test_what_was_asked_for_counts_as_used(bench: Bench) -> None:
    bench.publish("1.0.0", "latest")
    long_ago, soon = datetime.now(UTC) - timedelta(days=9), datetime.now(UTC) + timedelta(seconds=9)
    program = (await bench.agents.ensure("1.0.0")).path
    for path in (program, program.with_name("used")):
        os.utime(path, (long_ago.timestamp(), long_ago.timestamp()))
    assert bench.agents.old(before=datetime.now(UTC) - timedelta(days=1), wanted=()) == ["1.0.0"]
    await bench.agents.ensure("1.0.0")
    assert bench.agents.old(before=datetime.now(UTC) - timedelta(days=1), wanted=()) == []
    assert bench.agents.old(before=soon, wanted=()) == ["1.0.0"]
    assert bench.agents.old(before=soon, wanted={"1.0.0"}) == []
    bench.agents.remove("1.0.0")
    assert (await bench.agents.ensure("1.0.0")).path.is_file(), "it is fetched again"
