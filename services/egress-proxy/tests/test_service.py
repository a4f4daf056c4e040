"""The service over the bus: what the orchestrator asks and is answered."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from airut_common.contracts.v1 import (
    CloseSession,
    EgressEvent,
    OpenSession,
    PolicyReplaced,
    Refused,
    ReplacePolicy,
    SessionClosed,
    SessionOpened,
)
from airut_common.contracts.v1.subjects import egress_event, egress_service

from .conftest import POLICY, SECRET, Proxy, Starter, open_session

pytestmark = pytest.mark.integration


async def opened(proxy: Proxy, request: OpenSession) -> SessionOpened:
    """Open as soon as the secret has reached the service."""
    async with asyncio.timeout(30):
        while True:
            answer = await proxy.open(request)
            if isinstance(answer, SessionOpened):
                return answer
            assert answer.code == "missing_secret", answer
            await asyncio.sleep(0.05)


async def test_a_session_has_surrogates_and_the_authority_and_never_the_value(proxy: Proxy) -> None:
    request = open_session()
    answer = await opened(proxy, request)
    assert answer.sandbox == request.sandbox
    assert set(answer.environment) == {"API_KEY"}
    assert answer.environment["API_KEY"] != SECRET
    assert answer.environment["API_KEY"].startswith("sk-ant-")
    assert answer.ca_certificate.startswith("-----BEGIN CERTIFICATE-----")
    assert SECRET not in answer.model_dump_json()
    assert "PRIVATE" not in answer.model_dump_json()
    assert Path(answer.attach_socket).stat().st_mode & 0o777 == 0o600
    assert SECRET not in proxy.log.read_text()


async def test_opening_twice_gives_the_same(proxy: Proxy) -> None:
    request = open_session()
    first = await opened(proxy, request)
    assert await proxy.open(request) == first


async def test_a_restarted_proxy_derives_the_same_surrogates_and_keeps_its_authority(
    starter: Starter,
) -> None:
    """Field notes 36: an upgrade is a pause, not a lost task."""
    await starter.configure("API_KEY")
    request = open_session()
    async with starter.running() as proxy:
        await proxy.set_secret("API_KEY", SECRET)
        before = await opened(proxy, request)
        os.killpg(proxy.process.pid, signal.SIGKILL)
        await proxy.process.wait()
    async with starter.running() as proxy:
        after = await opened(proxy, request)
    assert after.environment == before.environment
    assert after.ca_certificate == before.ca_certificate
    assert after.attach_token != before.attach_token


async def test_a_bad_policy_is_refused_with_file_line_and_reason(proxy: Proxy) -> None:
    await opened(proxy, open_session())
    answer = await proxy.open(open_session(policy="domains:\n  - 'api example'\n"))
    assert isinstance(answer, Refused)
    assert answer.code == "invalid_policy"
    assert ".airut/network-allowlist.yaml:2" in answer.text


async def test_an_unknown_repository_is_refused(proxy: Proxy) -> None:
    answer = await proxy.open(open_session(repo="other"))
    assert isinstance(answer, Refused)
    assert answer.code == "unknown_repo"
    assert "other" in answer.text


async def test_a_missing_secret_names_the_command(starter: Starter) -> None:
    await starter.configure("API_KEY")
    async with starter.running() as proxy:
        answer = await proxy.open(open_session())
    assert isinstance(answer, Refused)
    assert answer.code == "missing_secret"
    assert "airut secret set API_KEY --repo demo" in answer.text


async def test_a_credential_that_no_rule_lets_out_is_refused(proxy: Proxy) -> None:
    """Field notes 27."""
    await opened(proxy, open_session())
    answer = await proxy.open(open_session(policy="domains: [other.example.test]\n"))
    assert isinstance(answer, Refused)
    assert answer.code == "unusable_credential"
    assert "API_KEY" in answer.text


async def test_closing_answers_totals_and_zeros_for_what_is_not_open(proxy: Proxy) -> None:
    request = open_session()
    await opened(proxy, request)
    for _ in range(2):
        answer = await proxy.bus.request(
            egress_service("local", "close"),
            CloseSession(sandbox=request.sandbox),
            SessionClosed,
            timeout_seconds=20,
        )
        assert isinstance(answer, SessionClosed)
        assert (answer.requests, answer.denied) == (0, 0)


async def test_open_sessions_are_listed(proxy: Proxy) -> None:
    requests = sorted([open_session(), open_session()], key=lambda request: request.sandbox)
    surrogates = [(await opened(proxy, request)).environment["API_KEY"] for request in requests]
    answer = await proxy.list_sessions()
    assert [(each.sandbox, each.task, each.repo, each.attached) for each in answer.sessions] == [
        (request.sandbox, request.task, "demo", False) for request in requests
    ]
    assert not answer.more
    assert not [text for text in (SECRET, *surrogates) if text in answer.model_dump_json()]
    rest = (await proxy.list_sessions(after=requests[0].sandbox)).sessions
    assert [each.sandbox for each in rest] == [requests[1].sandbox]


async def test_a_policy_is_replaced_and_a_bad_one_is_not(proxy: Proxy) -> None:
    request = open_session()
    first = await opened(proxy, request)

    async def replace(policy: str, sandbox: str = request.sandbox) -> PolicyReplaced | Refused:
        return await proxy.bus.request(
            egress_service("local", "replace-policy"),
            ReplacePolicy(sandbox=sandbox, policy=policy),
            PolicyReplaced,
            timeout_seconds=20,
        )

    assert await replace(POLICY + "url_prefixes: []\n") == PolicyReplaced(sandbox=request.sandbox)
    for policy, code in [
        ("domains:\n  - 'api example'\n", "invalid_policy"),
        ("domains: [other.example.test]\n", "unusable_credential"),
    ]:
        answer = await replace(policy)
        assert isinstance(answer, Refused)
        assert answer.code == code
    answer = await replace(POLICY, "nobody")
    assert isinstance(answer, Refused)
    assert (answer.code, "nobody" in answer.text) == ("not_open", True)
    assert [each.sandbox for each in (await proxy.list_sessions()).sessions] == [request.sandbox]
    assert await proxy.open(request) == first


async def test_events_reach_the_bus(proxy: Proxy) -> None:
    request = open_session()
    await opened(proxy, request)
    async with asyncio.timeout(30):
        async with contextlib.aclosing(proxy.bus.replay([egress_event("demo", request.sandbox)])) as events:
            async for stored in events:
                event = EgressEvent.decode(stored.data)
                assert (event.kind, event.reason, event.task) == ("session", "opened", request.task)
                break


async def test_it_stops_when_asked(starter: Starter) -> None:
    await starter.configure()
    async with starter.running() as proxy:
        os.killpg(proxy.process.pid, signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await proxy.process.wait() == 0, proxy.log.read_text()
        assert not (starter.state / "attach.sock").exists()


async def test_a_build_gets_no_credential(proxy: Proxy) -> None:
    """The code of a Dockerfile runs before anybody has asked for it (row 73)."""
    build, task = open_session(with_credentials=False), open_session()
    assert (await opened(proxy, task)).environment
    answer = await proxy.open(build)
    assert isinstance(answer, SessionOpened)
    assert answer.environment == {}


async def test_a_build_needs_no_secret_to_be_set(starter: Starter) -> None:
    await starter.configure("API_KEY")
    async with starter.running() as proxy:
        answer = await proxy.open(open_session(with_credentials=False))
        assert isinstance(answer, SessionOpened)
        refused = await proxy.open(open_session())
        assert isinstance(refused, Refused)
