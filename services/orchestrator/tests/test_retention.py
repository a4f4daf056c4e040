"""What nobody uses any more goes, and nothing else."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

import airut_orchestrator.database.store as store_module
import airut_sandbox.mirror as mirror_module
from airut_common.config.models import RetentionConfig
from airut_common.contracts.v1 import utc_now
from airut_common.processes import Completed
from airut_common.testing.builders import reply, task_request
from airut_orchestrator.database.schema import Conversation
from airut_orchestrator.database.store import Store
from airut_orchestrator.retention import Retention
from airut_orchestrator.task_log import TaskLogs
from airut_sandbox.agent_channel import Agents
from airut_sandbox.git import Git
from airut_sandbox.mirror import Mirror
from airut_sandbox.old_agents import note_use
from airut_sandbox.old_images import KEPT


class FakePodman:
    """Only the images; nothing is started."""

    rootless = False

    def __init__(self) -> None:
        self.images: list[dict] = []
        self.removed: list[str] = []

    async def run(self, command: str, *arguments: str, **_: object) -> Completed:
        if command == "rmi":
            self.removed.append(arguments[-1])
            return Completed(0, b"", b"")
        return Completed(0, json.dumps(self.images).encode(), b"")

    def add(self, name: str, days: float, *, installation: str = "here", repo: str = "demo") -> None:
        created = int((datetime.now(UTC) - timedelta(days=days)).timestamp())
        labels = {"airut.installation": installation, "airut.repo": repo}
        self.images.append({"Id": f"id-{name}", "Names": [name], "Created": created, "Labels": labels})


class Bench:
    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.podman = FakePodman()
        self.mirrors: list[Mirror] = []
        self.retention = Retention(
            store=store,
            podman=self.podman,
            installation="here",
            folder=folder / "conversations",
            logs=TaskLogs(folder / "logs"),
            agents=Agents(folder / "agents"),
            wanted_agents=lambda: {"1.0.1", "latest"},
            mirrors=lambda: self.mirrors,
            settings=RetentionConfig,
        )
        self.folder = folder / "conversations"
        self.logs = folder / "logs"
        self.agents = folder / "agents"

    def agent(self, version: str, *, days: float) -> None:
        """A version that was last used so many days ago."""
        program = self.agents / version / "linux-x64" / "claude"
        program.parent.mkdir(parents=True)
        program.touch()
        note_use(program)
        used = time.time() - days * 86400
        os.utime(program, (0, 0))
        os.utime(program.with_name("used"), (used, used))

    async def conversation(self, task: str, *, days: float, over: bool = True) -> str:
        """A conversation with one task, last used so many days ago, and its folder."""
        (added,) = await self.store.add(task_request(id=task))
        found = added.conversation
        if over:
            await self.store.begin_next()
            await self.store.finish(reply(id=task, conversation=found), None)
            await self.store.published(task, "done")
        moment = utc_now() - timedelta(days=days)
        unused = update(Conversation).where(Conversation.id == found).values(last_activity_at=moment)
        await self.store.database.transact(lambda session: session.execute(unused))
        (self.folder / found / "workspace").mkdir(parents=True)
        (self.logs / found).mkdir(parents=True)
        (self.logs / found / f"{task}.1.log.gz").touch()
        return found

    def left(self) -> set[str]:
        return {entry.name for entry in self.folder.iterdir()}


@pytest.fixture
def bench(store: Store, tmp_path: Path) -> Bench:
    folder = tmp_path / "conversations"
    folder.mkdir()
    return Bench(store, folder)


async def test_a_mirror_that_cannot_be_tidied_keeps_no_other_from_it(
    bench: Bench, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(mirror_module, "MANY_LOOSE_OBJECTS", 1)
    (tmp_path / "broken.git").mkdir()
    good = tmp_path / "good.git"
    await Git().run("init", "--quiet", "--bare", str(good), timeout_seconds=30, cwd=tmp_path)
    command = (f"--git-dir={good}", "hash-object", "-w", "--stdin")
    found = await Git().run(*command, timeout_seconds=30, cwd=tmp_path, stdin=b"an object")
    kept = (f"--git-dir={good}", "update-ref", "refs/tags/kept", found.decode().strip())
    await Git().run(*kept, timeout_seconds=30, cwd=tmp_path)
    bench.mirrors = [
        Mirror(tmp_path / name, "https://git.example/x.git", None) for name in ("broken.git", "good.git")
    ]
    await bench.retention.tidy_mirrors()
    assert "mirror_not_tidied" in capsys.readouterr().out
    assert len(list((good / "objects" / "pack").glob("*.pack"))) == 1


async def test_only_what_is_old_and_over_goes(bench: Bench) -> None:
    old = await bench.conversation("a", days=8)
    recent = await bench.conversation("b", days=6)
    waiting = await bench.conversation("c", days=30, over=False)
    tried = await bench.retention.collect(dry_run=True)
    assert (tried.conversations, bench.left()) == ((old,), {old, recent, waiting})
    done = await bench.retention.collect(dry_run=False)
    assert (done.conversations, done.conversation_count, done.problems) == ((old,), 1, ())
    assert bench.left() == {recent, waiting}
    assert await bench.store.conversations() == {recent, waiting}
    assert await bench.store.state("a") is None
    assert await bench.store.state("b") == "done"
    assert (await bench.retention.collect(dry_run=False)).conversation_count == 0


async def test_a_reply_that_waits_for_the_bus_keeps_its_conversation(bench: Bench) -> None:
    found = await bench.conversation("a", days=30, over=False)
    await bench.store.begin_next()
    await bench.store.finish(reply(id="a", conversation=found), None)
    assert (await bench.retention.collect(dry_run=False)).conversation_count == 0
    assert len(await bench.store.unpublished()) == 1


async def test_a_message_in_between_keeps_its_conversation(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await bench.conversation("a", days=30)
    unused = bench.store.unused_since

    async def then_a_message(moment: datetime) -> list[str]:
        names = await unused(moment)
        await bench.store.add(task_request(id="b", conversation=found))
        return names

    monkeypatch.setattr(bench.store, "unused_since", then_a_message)
    assert (await bench.retention.collect(dry_run=False)).conversation_count == 0
    assert bench.left() == {found}


async def test_what_a_crash_left_of_a_removal_goes_the_next_time(bench: Bench) -> None:
    kept = await bench.conversation("a", days=1)
    (bench.folder / "orphan" / "workspace").mkdir(parents=True)
    assert (await bench.retention.collect(dry_run=False)).conversations == ("orphan",)
    assert bench.left() == {kept}


async def test_a_link_is_removed_and_not_followed(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "file").write_text("x")
    old = await bench.conversation("a", days=8)
    (bench.folder / old / "workspace" / "link").symlink_to(outside)
    await bench.retention.collect(dry_run=False)
    assert (outside / "file").exists()
    assert bench.left() == set()


async def test_what_cannot_be_removed_is_told_and_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await bench.conversation("a", days=8)

    async def fails(path: Path, podman: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("airut_orchestrator.retention.discard_tree", fails)
        found = await bench.retention.collect(dry_run=False)
    assert found.conversation_count == 0
    assert found.problems == (f"conversation {old}: [Errno 5] Input/output error",)
    assert (await bench.retention.collect(dry_run=False)).conversations == (old,)


async def test_row_66_old_images_of_this_installation_go_but_the_newest(bench: Bench) -> None:
    for number in range(KEPT + 2):
        bench.podman.add(f"demo-{number}", days=10 + number)
    bench.podman.add("recent", days=1)
    bench.podman.add("foreign", days=99, installation="elsewhere")
    bench.podman.add("only", days=99, repo="other")
    tried = await bench.retention.collect(dry_run=True)
    assert bench.podman.removed == []
    done = await bench.retention.collect(dry_run=False)
    last = [f"demo-{number}" for number in range(KEPT - 1, KEPT + 2)]
    assert tried.images == done.images == tuple(last)
    assert bench.podman.removed == [f"id-{name}" for name in last]


async def test_a_conversation_of_another_host_stays(store: Store, bench: Bench) -> None:
    old = await bench.conversation("a", days=8)
    elsewhere = store_module.Store(store.database, "elsewhere")
    assert await elsewhere.unused_since(utc_now()) == []
    assert await store.unused_since(utc_now()) == [old]


async def test_a_version_of_the_agent_that_cannot_be_removed_keeps_no_other(bench: Bench) -> None:
    bench.agent("1.2.0", days=8)
    elsewhere = bench.agents.with_name("elsewhere")
    (bench.agents / "1.2.0").rename(elsewhere)
    (bench.agents / "1.2.0").symlink_to(elsewhere)
    bench.agent("1.2.1", days=8)
    done = await bench.retention.collect(dry_run=False)
    assert done.agents == ("1.2.1",)
    assert any("1.2.0" in problem for problem in done.problems)
    assert list(elsewhere.glob("*/claude")), "a link is not followed"


async def test_versions_of_the_agent_go_that_nobody_runs_and_nobody_wants(bench: Bench) -> None:
    for number in range(4):
        bench.agent(f"1.0.{number}", days=8)
    bench.agent("1.1.0", days=6)
    channel = bench.agents / "channels" / "stable"
    channel.parent.mkdir()
    channel.write_text("1.0.2\n")
    would = await bench.retention.collect(dry_run=True)
    assert would.agents == ("1.0.0", "1.0.3"), (
        "one is configured, one is what a channel named last, one was used"
    )
    assert len(list(bench.agents.glob("1.*"))) == 5
    assert await bench.retention.collect(dry_run=False) == would
    assert {folder.name for folder in bench.agents.glob("1.*")} == {"1.0.1", "1.0.2", "1.1.0"}
