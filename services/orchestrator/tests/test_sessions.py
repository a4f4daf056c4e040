import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import airut_orchestrator.sessions as sessions_module
from airut_common.bus import Bus
from airut_common.bus.answers import Endpoint
from airut_common.bus.topology import STATUS_BUCKET, status_key
from airut_common.contracts.v1 import (
    CloseSession,
    ListSessions,
    Message,
    OpenedSession,
    OpenSession,
    Refused,
    SessionClosed,
    SessionOpened,
    SessionsListed,
    new_id,
)
from airut_common.contracts.v1.subjects import egress_service
from airut_orchestrator.failures import TaskFailure
from airut_orchestrator.sessions import EgressSessions
from airut_sandbox.errors import AttachFailed


@dataclass
class FakeProxy:
    """The egress-proxy's side of the bus: sessions in memory, tokens that die with it."""

    bus: Bus
    refuse: Refused | None = None
    tokens: dict[str, str] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    slow: asyncio.Event | None = None
    """Opens, and answers only then."""
    stuck: str | None = None
    """A session whose end is refused."""
    listed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, question: OpenSession) -> Message:
        if self.refuse is not None:
            return self.refuse
        self.opened.append(question.sandbox)
        token = self.tokens.setdefault(question.sandbox, new_id())
        if self.slow is not None:
            await self.slow.wait()
        return SessionOpened(
            sandbox=question.sandbox, attach_socket="/x", attach_token=token, ca_certificate="PEM"
        )

    async def close(self, question: CloseSession) -> Message:
        if question.sandbox == self.stuck:
            return Refused(code="unavailable", text="its engine hangs")
        self.closed.append(question.sandbox)
        self.tokens.pop(question.sandbox, None)
        return SessionClosed(sandbox=question.sandbox, requests=5, denied=2)

    async def list(self, question: ListSessions) -> Message:
        """One at a time, so that whoever asks has to turn pages."""
        self.listed.set()
        behind = sorted(sandbox for sandbox in self.tokens if sandbox > (question.after or ""))
        sessions = tuple(
            OpenedSession(sandbox=sandbox, task="t-1", repo="demo", attached=True, open_seconds=1)
            for sandbox in behind[:1]
        )
        return SessionsListed(sessions=sessions, more=len(behind) > 1)

    async def until_closed(self, *sandboxes: str) -> None:
        async with asyncio.timeout(10):
            while set(self.closed) != set(sandboxes):
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        endpoints = {
            "open": Endpoint(egress_service("local", "open"), OpenSession, self.open),
            "close": Endpoint(egress_service("local", "close"), CloseSession, self.close),
            "list": Endpoint(egress_service("local", "list"), ListSessions, self.list),
        }
        async with self.bus.serve("egress-proxy", endpoints):
            await self.bus.kv_put(
                STATUS_BUCKET, status_key("egress-proxy"), json.dumps({"at": new_id()}).encode()
            )
            yield


@dataclass
class FakeSandbox:
    """Takes a network only from a proxy that knows the token."""

    proxy: FakeProxy
    attached: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def attach_network(self, socket: Path, token: str) -> None:
        if token not in self.proxy.tokens.values():
            raise AttachFailed("unknown token")
        self.attached.append(token)
        self.changed.set()

    async def until_attached(self, times: int) -> None:
        async with asyncio.timeout(10):
            while len(self.attached) < times:
                self.changed.clear()
                await self.changed.wait()


def question(sandbox: str = "s-1") -> OpenSession:
    return OpenSession(sandbox=sandbox, task="t-1", repo="demo", policy="domains: []")


@pytest.fixture
async def sessions(bus: Bus, monkeypatch) -> AsyncIterator[EgressSessions]:
    monkeypatch.setattr(sessions_module, "OPEN_SECONDS", 1.0)
    monkeypatch.setattr(sessions_module, "ATTACH_SECONDS", 1.0)
    monkeypatch.setattr(sessions_module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(sessions_module, "SLOWEST_RETRY_SECONDS", 0.05)
    found = EgressSessions(bus, "local")
    loops = [asyncio.create_task(work) for work in (found.follow_restarts(), found.sweep())]
    yield found
    for loop in loops:
        assert not loop.done(), loop
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)


async def test_a_session_is_opened_attached_and_closed_with_its_totals(
    bus: Bus, sessions: EgressSessions
) -> None:
    proxy = FakeProxy(bus)
    sandbox = FakeSandbox(proxy)
    async with proxy.serving():
        async with sessions.session(question()) as session:
            await session.attach(sandbox)
            totals = await session.close()
        assert (totals.requests, totals.denied) == (5, 2)
        assert await session.close() == totals
    assert proxy.closed == ["s-1"]
    assert len(sandbox.attached) == 1


async def test_a_session_is_closed_when_the_task_fails(bus: Bus, sessions: EgressSessions) -> None:
    proxy = FakeProxy(bus)
    async with proxy.serving():
        with pytest.raises(ZeroDivisionError):
            async with sessions.session(question()):
                raise ZeroDivisionError
    assert proxy.closed == ["s-1"]


async def test_row_36_without_an_egress_proxy_nothing_runs_and_the_person_is_told(
    sessions: EgressSessions,
) -> None:
    with pytest.raises(TaskFailure) as failure:
        async with sessions.session(question()):
            pytest.fail("there is no network")
    assert "egress-proxy" in failure.value.text
    assert failure.value.outcome == "failed"


async def test_a_proxy_that_comes_back_in_time_is_waited_for(bus: Bus, sessions: EgressSessions) -> None:
    proxy = FakeProxy(bus)

    async def ask() -> None:
        async with sessions.session(question()):
            pass

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.1)
    async with proxy.serving():
        await asking
    assert proxy.opened == ["s-1"]


@pytest.mark.parametrize(
    ("code", "words", "outcome"),
    [
        ("invalid_policy", ["default branch", "allow.yaml:3: domains"], "refused"),
        ("missing_secret", ["airut secret set", "allow.yaml:3"], "refused"),
        ("internal", ["refused its network"], "failed"),
    ],
)
async def test_a_refusal_says_why(bus: Bus, sessions: EgressSessions, code, words, outcome) -> None:
    text = "allow.yaml:3: domains: a list is needed; airut secret set X"
    async with FakeProxy(bus, refuse=Refused(code=code, text=text)).serving():
        with pytest.raises(TaskFailure) as failure:
            async with sessions.session(question()):
                pass
    assert all(word in failure.value.text for word in words)
    assert failure.value.outcome == outcome


async def test_a_restarted_proxy_gets_every_sandbox_back(bus: Bus, sessions: EgressSessions) -> None:
    proxy = FakeProxy(bus)
    sandboxes = [FakeSandbox(proxy), FakeSandbox(proxy)]
    async with AsyncExitStack() as held:
        async with proxy.serving():
            for number, sandbox in enumerate(sandboxes):
                session = await held.enter_async_context(sessions.session(question(f"s-{number}")))
                await session.attach(sandbox)
        proxy.tokens.clear()
        async with proxy.serving():
            for sandbox in sandboxes:
                await sandbox.until_attached(2)
                assert sandbox.attached[0] != sandbox.attached[1]
            await held.aclose()


async def test_one_sandbox_that_cannot_be_given_back_does_not_keep_the_others_waiting(
    bus: Bus, sessions: EgressSessions
) -> None:
    class Dying(FakeSandbox):
        async def attach_network(self, socket: Path, token: str) -> None:
            if self.attached:
                raise AttachFailed("its namespace is gone")
            await super().attach_network(socket, token)

    proxy = FakeProxy(bus)
    dying, fine = Dying(proxy), FakeSandbox(proxy)
    async with AsyncExitStack() as held:
        async with proxy.serving():
            for name, sandbox in (("s-0", dying), ("s-1", fine)):
                session = await held.enter_async_context(sessions.session(question(name)))
                await session.attach(sandbox)
        for times in (2, 3):
            proxy.tokens.clear()
            async with proxy.serving():
                await fine.until_attached(times)
        async with proxy.serving():
            await held.aclose()


async def test_a_proxy_restarted_between_opening_and_attaching_is_asked_again(
    bus: Bus, sessions: EgressSessions
) -> None:
    proxy = FakeProxy(bus)
    sandbox = FakeSandbox(proxy)
    async with proxy.serving():
        async with sessions.session(question()) as session:
            proxy.tokens.clear()
            await session.attach(sandbox)
            assert len(sandbox.attached) >= 1


async def test_a_sandbox_that_never_attaches_fails_in_bounded_time(
    bus: Bus, sessions: EgressSessions
) -> None:
    class Broken(FakeSandbox):
        async def attach_network(self, socket: Path, token: str) -> None:
            raise AttachFailed("no nft on this host")

    proxy = FakeProxy(bus)
    async with proxy.serving():
        with pytest.raises(AttachFailed, match="no nft"):
            async with asyncio.timeout(10), sessions.session(question()) as session:
                await session.attach(Broken(proxy))
    assert proxy.closed == ["s-1"]


async def test_a_session_that_could_not_be_closed_is_closed_later(bus: Bus, sessions: EgressSessions) -> None:
    proxy = FakeProxy(bus)
    async with AsyncExitStack() as held:
        async with proxy.serving():
            session = await held.enter_async_context(sessions.session(question()))
        assert await session.close() is None
    async with proxy.serving():
        await proxy.until_closed("s-1")


async def test_what_a_killed_orchestrator_left_open_is_closed_and_what_is_held_stays(
    bus: Bus, monkeypatch
) -> None:
    monkeypatch.setattr(sessions_module, "SWEEP_SECONDS", 0.02)
    proxy = FakeProxy(bus, tokens={f"old-{number}": "x" for number in range(3)})
    mine = EgressSessions(bus, "local")

    async def hold() -> None:
        async with mine.session(question("s-2")):
            pass

    async with proxy.serving(), mine.session(question()):
        proxy.slow = asyncio.Event()
        opening = asyncio.create_task(hold())
        sweeping = asyncio.create_task(mine.sweep())
        await proxy.until_closed("old-0", "old-1", "old-2")
        proxy.tokens["late"] = "asked for by the one that was killed"
        await proxy.until_closed("old-0", "old-1", "old-2", "late")
        assert set(proxy.tokens) == {"s-1", "s-2"}
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        proxy.slow.set()
        await opening


async def test_one_session_that_cannot_be_closed_does_not_keep_the_others_open(bus: Bus) -> None:
    proxy = FakeProxy(bus, tokens={f"old-{number}": "x" for number in range(3)}, stuck="old-0")
    async with proxy.serving():
        sweeping = asyncio.create_task(EgressSessions(bus, "local").sweep())
        await proxy.until_closed("old-1", "old-2")
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)


async def test_a_session_whose_opening_was_interrupted_is_looked_for_at_once(
    bus: Bus, sessions: EgressSessions
) -> None:
    proxy = FakeProxy(bus, slow=asyncio.Event())

    async def hold() -> None:
        async with sessions.session(question()):
            pass

    async with proxy.serving():
        await proxy.listed.wait()
        opening = asyncio.create_task(hold())
        async with asyncio.timeout(10):
            while not proxy.opened:
                await asyncio.sleep(0.01)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await proxy.until_closed("s-1")
