"""Installation tokens, from a GitHub on a real socket."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from airut_common.secrets import Secret
from airut_egress.github_app import InstallationTokens, TokenUnavailable, tokens

from . import fake_github
from .fake_github import FakeGitHub, answer

Make = Callable[..., InstallationTokens]


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **delta: float) -> None:
        self.time += timedelta(**delta)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def github(clock: Clock) -> AsyncIterator[Any]:
    async with FakeGitHub(clock).running() as github:
        yield github


@pytest.fixture
async def make(github: Any, clock: Clock) -> AsyncIterator[Make]:
    async with httpx.AsyncClient(trust_env=False) as client:

        def make(**options: Any) -> InstallationTokens:
            defaults: dict[str, Any] = {
                "app_id": 1234,
                "installation_id": 42,
                "private_key": Secret(fake_github.PEM),
                "client": client,
                "base_url": github.base_url,
                "clock": clock,
            }
            return InstallationTokens(**(defaults | options))

        yield make


async def refusal(made: InstallationTokens) -> str:
    with pytest.raises(TokenUnavailable) as caught:
        await made.current()
    text = str(caught.value)
    assert text
    assert text.isprintable()
    assert len(text) < 300
    return text


async def test_a_token_comes_with_its_repositories(make: Make, github: Any, clock: Clock) -> None:
    token = await make().current()
    assert token.token.reveal() == "ghs_token1"
    assert token.expires_at == clock() + timedelta(hours=1)
    assert token.repositories == {"octocat/hello-world", "blacklanternsecurity/test_keys"}
    assert token.repository_ids == {1296269, 459780477}
    assert github.posts[0].body == {}
    assert "ghs_" not in repr(token)


async def test_what_is_asked_for_is_sent(make: Make, github: Any) -> None:
    github.repositories = [fake_github.HELLO]
    await make(permissions={"contents": "write"}, repositories=["Hello-World"]).current()
    assert github.posts[0].body == {"permissions": {"contents": "write"}, "repositories": ["Hello-World"]}


async def test_a_token_that_reaches_more_than_was_asked_for_is_not_used(make: Make) -> None:
    assert "not asked for" in await refusal(make(repositories=["hello-world"]))


async def test_pages_are_followed(make: Make, github: Any) -> None:
    github.repositories = [repository(number) for number in range(1, 121)]
    token = await make().current()
    assert token.repository_ids == frozenset(range(1, 121))
    assert len(github.requests) == 1 + 3


async def test_a_last_page_that_is_full(make: Make, github: Any) -> None:
    github.repositories = [repository(number) for number in range(1, 101)]
    assert (await make().current()).repository_ids == frozenset(range(1, 101))


@pytest.mark.parametrize(("count", "total"), [(1001, None), (1050, 1000), (1001, 3)])
async def test_too_many_repositories_are_none_that_can_be_told(
    make: Make, github: Any, count: int, total: int | None
) -> None:
    github.repositories = [repository(number) for number in range(1, count + 1)]
    github.total = total
    token = await make().current()
    if total is None:
        assert (token.repositories, token.repository_ids) == (None, frozenset())
        assert len(github.requests) == 2
    else:
        assert len(github.requests) == 1 + 20


def repository(number: int) -> dict[str, Any]:
    return {"id": number, "node_id": "opaque", "full_name": f"o/n{number}"}


async def test_a_token_is_kept_until_five_minutes_before_its_end(
    make: Make, github: Any, clock: Clock
) -> None:
    made = make()
    first = await made.current()
    clock.forward(minutes=54, seconds=59)
    assert await made.current() is first
    clock.forward(seconds=1)
    assert (await made.current()).token.reveal() == "ghs_token2"
    assert len(github.posts) == 2


async def test_a_token_is_kept_for_an_hour_at_most(make: Make, github: Any, clock: Clock) -> None:
    github.lifetime = timedelta(days=3650)
    assert (await make().current()).expires_at == clock() + timedelta(hours=1)


async def test_callers_at_the_same_moment_share_one_token(make: Make, github: Any) -> None:
    made = make()
    got = await asyncio.gather(*(made.current() for _ in range(20)))
    assert len(github.posts) == 1
    assert len({id(token) for token in got}) == 1


async def test_a_caller_that_leaves_takes_nothing_from_the_others(make: Make, github: Any) -> None:
    github.gate = asyncio.Event()
    made = make()
    callers = [asyncio.create_task(made.current()) for _ in range(20)]
    while not github.posts:
        await asyncio.sleep(0.01)
    for caller in callers[:10]:
        caller.cancel()
    await asyncio.sleep(0)
    github.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[:10])
    assert {result.token.reveal() for result in results[10:] if not isinstance(result, BaseException)} == {
        "ghs_token1"
    }
    assert len(github.posts) == 1


async def test_all_callers_gone_and_the_token_is_still_made(make: Make, github: Any) -> None:
    github.gate = asyncio.Event()
    made = make()
    caller = asyncio.create_task(made.current())
    while not github.posts:
        await asyncio.sleep(0.01)
    caller.cancel()
    github.gate.set()
    assert (await made.current()).token.reveal() == "ghs_token1"


async def test_closing_ends_the_wait(make: Make, github: Any) -> None:
    github.gate = asyncio.Event()
    made = make()
    caller = asyncio.create_task(made.current())
    while not github.posts:
        await asyncio.sleep(0.01)
    await made.close()
    with pytest.raises(TokenUnavailable, match="given up"):
        await caller
    github.gate.set()
    await made.close()


async def test_a_failure_is_remembered_for_five_seconds(make: Make, github: Any, clock: Clock) -> None:
    github.token_override = answer(404, {"message": "Integration not found"})
    made = make()
    results = await asyncio.gather(*(made.current() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(result, TokenUnavailable) for result in results)
    text = await refusal(made)
    assert text == "GitHub answered 404 to the request for an installation token: Integration not found"
    clock.forward(seconds=4.9)
    assert await refusal(made) == text
    assert len(github.posts) == 1
    github.token_override = None
    clock.forward(seconds=0.1)
    assert (await made.current()).token.reveal() == "ghs_token2"


async def test_a_clock_that_is_set_back_does_not_prolong_a_failure(
    make: Make, github: Any, clock: Clock
) -> None:
    github.token_override = answer(500, b"")
    made = make()
    assert await refusal(made) == "GitHub answered 500 to the request for an installation token"
    clock.forward(hours=-2)
    github.token_override = None
    assert (await made.current()).repositories


HUGE = b'{"token": "' + b"x" * (1024 * 1024) + b'"}'


@pytest.mark.parametrize(
    ("hostile", "text"),
    [
        (answer(201, HUGE), "larger than"),
        (answer(500, HUGE), "larger than"),
        (answer(201, b"<html>"), "not a JSON object"),
        (answer(201, b"\xff\xfe"), "not a JSON object"),
        (answer(201, b"[" * 500_000), "not a JSON object"),
        (answer(201, b"[]"), "not a JSON object"),
        (answer(201, b""), "not a JSON object"),
        (answer(201, b'{"token": ' + b"9" * 9999 + b"}"), "not a JSON object"),
        (answer(201, {}), "has no token"),
        (answer(201, {"token": 5, "expires_at": "2025-06-01T13:00:00Z"}), "has no token"),
        (answer(201, {"token": "", "expires_at": "2025-06-01T13:00:00Z"}), "has no token"),
        (answer(201, {"token": "ghs_a\r\nHost: evil", "expires_at": "2025-06-01T13:00:00Z"}), "has no token"),
        (answer(201, {"token": "ghs_a\n", "expires_at": "2025-06-01T13:00:00Z"}), "has no token"),
        (answer(201, {"token": "ghs_ä", "expires_at": "2025-06-01T13:00:00Z"}), "has no token"),
        (answer(201, {"token": "x" * 4096, "expires_at": "2025-06-01T13:00:00Z"}), "has no token"),
        (answer(201, {"token": "ghs_a"}), "when the token expires"),
        (answer(201, {"token": "ghs_a", "expires_at": 5}), "when the token expires"),
        (answer(201, {"token": "ghs_a", "expires_at": "soon"}), "when the token expires"),
        (answer(201, {"token": "ghs_a", "expires_at": "2025-06-01T13:00:00"}), "when the token expires"),
        (
            answer(201, {"token": "ghs_a", "expires_at": "0001-01-01T00:00:00+23:00"}),
            "when the token expires",
        ),
        (answer(201, {"token": "ghs_a", "expires_at": "2025-06-01T12:05:00Z"}), "clock right"),
        (answer(200, {"token": "ghs_a", "expires_at": "2025-06-01T13:00:00Z"}), "answered 200"),
        (answer(302, b"", "Location: http://127.0.0.1:9/"), "answered 302"),
        (answer(201, gzip.compress(b"{}"), "Content-Encoding: gzip"), "content coding"),
        (b"nonsense\r\n\r\n", "could not be asked (RemoteProtocolError)"),
        (b"HTTP/1.1 201 X\r\nContent-Length: 50\r\n\r\n{}", "could not be asked (RemoteProtocolError)"),
    ],
)
async def test_hostile_answers(make: Make, github: Any, hostile: bytes, text: str) -> None:
    github.token_override = hostile
    assert text in await refusal(make())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"total_count": 1},
        {"total_count": "1", "repositories": []},
        {"total_count": 1, "repositories": {}},
        {"total_count": 1, "repositories": [5]},
        {"total_count": 1, "repositories": [{}]},
        *(
            {"total_count": 1, "repositories": [fake_github.HELLO | change]}
            for change in (
                {"id": "1296269"},
                {"id": True},
                {"id": 0},
                {"id": -1},
                {"id": 2**63},
                {"full_name": "octocat"},
                {"full_name": "octocat/a/b"},
                {"full_name": "octocat/a\n"},
                {"full_name": None},
                {"node_id": 5},
            )
        ),
    ],
)
async def test_hostile_lists(make: Make, github: Any, body: object) -> None:
    github.list_override = answer(200, body)
    assert "another shape" in await refusal(make())


async def test_a_github_with_other_node_ids_is_not_used(make: Make, github: Any) -> None:
    github.repositories = [fake_github.HELLO | {"node_id": "R_kgDOG2exfQ"}]
    assert "node ids" in await refusal(make())


async def test_messages_are_short_and_without_secrets(make: Make, github: Any) -> None:
    github.token_override = answer(401, {"message": "bad\r\n\x1b[31m\u202e" + "words and " * 500})
    text = await refusal(make())
    assert "bad" in text
    assert len(text) < 280

    # What was sent, whole and cut in two.
    def echoed(self: Any) -> bytes:
        proof = github.proofs[-1]
        return answer(401, {"message": f"no: {proof} {'x ' * 70}{proof[:60]} {fake_github.PEM[40:140]}"})

    github.token_override = None
    github._token_answer = echoed.__get__(github)
    text = await refusal(make())
    assert "no: …" in text
    assert not any(part in text for part in (github.proofs[-1][:20], github.proofs[-1][40:60]))
    assert not any(line[:30] in text for line in fake_github.PEM.splitlines()[1:-1])


async def test_a_token_that_is_repeated_is_not_shown(make: Make, github: Any) -> None:
    github.token = "ghs_short"
    github.list_override = answer(403, {"message": "ghs_short is not allowed"})
    assert (
        await refusal(make())
        == "GitHub answered 403 to the request for the installation's repositories: … is not allowed"
    )


def pem(key: Any, protection: Any = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection or NoEncryption()).decode()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "not a key",
        fake_github.PEM[:-200],
        fake_github.PEM.replace("RSA ", ""),
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        pem(fake_github.KEY, BestAvailableEncryption(b"secret")),
    ],
)
async def test_a_bad_key_is_named_and_not_shown(make: Make, github: Any, key: str) -> None:
    text = await refusal(make(private_key=Secret(key)))
    assert "private key" in text
    assert not github.requests


async def test_pkcs8_keys(make: Make) -> None:
    assert await make(private_key=Secret(pem(fake_github.KEY))).current()


async def test_nobody_listening(make: Make) -> None:
    assert "ConnectError" in await refusal(make(base_url="http://127.0.0.1:9"))


async def test_silence_is_waited_for_no_longer_than_the_limit(
    make: Make, github: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_REQUEST_SECONDS", 0.2)
    github.gate = asyncio.Event()
    made = make()
    text = await refusal(made)
    assert "did not answer" in text or "ReadTimeout" in text
    github.gate.set()


async def test_the_whole_takes_no_longer_than_the_limit(
    make: Make, github: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_REFRESH_SECONDS", 0.2)
    github.gate = asyncio.Event()
    assert "longer than" in await refusal(make())
    github.gate.set()


async def test_a_client_that_was_closed(make: Make) -> None:
    client = httpx.AsyncClient()
    await client.aclose()
    assert "RuntimeError" in await refusal(make(client=client))


async def test_the_clients_own_credentials_play_no_part(make: Make) -> None:
    async with httpx.AsyncClient(auth=("user", "password"), follow_redirects=True) as client:
        assert await make(client=client).current()


async def test_redirects_are_not_followed(make: Make, github: Any) -> None:
    github.token_override = answer(
        307, b"", f"Location: {github.base_url}/app/installations/42/access_tokens"
    )
    async with httpx.AsyncClient(follow_redirects=True) as client:
        assert "answered 307" in await refusal(make(client=client))
    assert len(github.requests) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"installation_id": 0},
        {"app_id": ""},
        {"permissions": {}},
        {"repositories": []},
        {"repositories": "hello"},
        {"repositories": ["o/n"]},
        {"base_url": "http://api.github.com"},
        {"base_url": "http://localhost.evil.example"},
        {"base_url": "ftp://api.github.com"},
        {"base_url": "https://user@api.github.com"},
        {"base_url": "https://api.github.com?x=1"},
        {"base_url": "https://"},
        {"base_url": "https://[::1"},
        {"base_url": ""},
    ],
)
async def test_what_cannot_be_meant_is_refused_at_once(make: Make, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        make(**options)
