"""A GitHub App as a sandbox's credential, through a real engine to a GitHub that is on a real socket."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from airut_common.config.credentials import GithubAppCredential
from airut_common.secrets import Secret
from airut_egress.entries import Credential
from airut_egress.testing.clients import request
from airut_egress.testing.origin import Answer, Origin, Seen
from airut_egress.testing.world import World

from .fake_github import HELLO, PEM

HOST = "api.example.test"
HELLO_ID = HELLO["node_id"]


class GitHub:
    """Answers of an API that mints a new token at each request for one."""

    def __init__(self, origin: Origin) -> None:
        self.minted: list[str] = []
        self.works = True
        self.lifetime = timedelta(hours=1)
        self.length = 36
        self.others: list[Seen] = []
        self.gate: asyncio.Event | None = None
        """Tokens are given when it is set."""
        self.asked = asyncio.Event()
        self.echo = ""
        origin.respond = self.respond

    async def respond(self, seen: Seen) -> Answer:
        if seen.target == "/app/installations/7/access_tokens":
            return await self._mint(seen)
        if seen.target.startswith("/installation/repositories"):
            return _json(200, {"total_count": 1, "repositories": [HELLO]})
        self.others.append(seen)
        return Answer(body=self.echo.encode())

    async def _mint(self, seen: Seen) -> Answer:
        assert (seen.header("authorization") or "").startswith("Bearer eyJ")
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if not self.works:
            return _json(401, {"message": "A JSON web token could not be decoded"})
        self.minted.append("ghs_" + f"real{len(self.minted)}".ljust(self.length, "Z"))
        expires = datetime.now(UTC) + self.lifetime
        return _json(201, {"token": self.minted[-1], "expires_at": expires.isoformat()})


def _json(status: int, body: object) -> Answer:
    return Answer(status, [("content-type", "application/json")], json.dumps(body).encode())


@pytest.fixture
def github(origin: Origin) -> GitHub:
    return GitHub(origin)


def app(**config: object) -> Credential:
    rule = {
        "type": "github-app", "app_id": "12", "installation_id": 7, "scopes": (HOST,),
        "base_url": f"https://{HOST}",
    } | config  # fmt: skip
    return Credential("GH_TOKEN", GithubAppCredential(**rule), {"GH_TOKEN": Secret(PEM)})


async def test_a_token_takes_its_surrogates_place(world: World, github: GitHub) -> None:
    sandbox = await world.sandbox(credentials=[app()])
    surrogate = sandbox.environment["GH_TOKEN"]
    assert surrogate.startswith("ghs_")
    assert len(surrogate) == 40
    for _ in range(3):
        assert (await request(sandbox, headers=f"Authorization: token {surrogate}\r\n")).status == 200
    assert len(github.minted) == 1
    assert {seen.header("authorization") for seen in github.others} == {f"token {github.minted[0]}"}
    event = await world.recorder.wait(lambda e: e.kind == "request")
    assert event.credentials == ("GH_TOKEN",)


async def test_sandboxes_share_a_token_and_one_request_for_it(world: World, github: GitHub) -> None:
    github.gate = asyncio.Event()
    sandboxes = [await world.sandbox(credentials=[app()]) for _ in range(3)]
    asked = [
        asyncio.create_task(
            request(each, headers=f"Authorization: Bearer {each.environment['GH_TOKEN']}\r\n")
        )
        for each in sandboxes
    ]
    async with asyncio.timeout(10):
        await github.asked.wait()
    github.gate.set()
    assert [(await task).status for task in asked] == [200, 200, 200]
    assert len(github.minted) == 1


async def test_no_token_is_a_502_that_says_why(world: World, github: GitHub) -> None:
    github.works = False
    sandbox = await world.sandbox(credentials=[app()])
    answer = await request(sandbox, headers=f"Authorization: token {sandbox.environment['GH_TOKEN']}\r\n")
    said = json.loads(answer.body)
    assert (answer.status, said["obstacle"]) == (502, "token")
    assert "GitHub answered 401" in said["message"]
    assert github.others == []


async def test_a_token_that_runs_out_is_replaced(world: World, github: GitHub) -> None:
    github.lifetime = timedelta(minutes=5, milliseconds=300)
    sandbox = await world.sandbox(credentials=[app()])
    headers = f"Authorization: token {sandbox.environment['GH_TOKEN']}\r\n"
    async with asyncio.timeout(10):
        while len(github.minted) < 2:
            assert (await request(sandbox, headers=headers)).status in {200, 502}
    assert (await request(sandbox, headers=headers)).status in {200, 502}
    seen = [each.header("authorization") for each in github.others]
    assert {f"token {token}" for token in github.minted[:2]} & set(seen)
    assert sandbox.environment["GH_TOKEN"] not in str(seen)


@pytest.mark.parametrize("length", [36, 80])
async def test_answers_do_not_tell_the_token(world: World, github: GitHub, length: int) -> None:
    github.length = length
    sandbox = await world.sandbox(credentials=[app()])
    headers = f"Authorization: token {sandbox.environment['GH_TOKEN']}\r\n"
    await request(sandbox, headers=headers)
    github.echo = f'{{"token": "{github.minted[0]}"}}'
    answer = await request(sandbox, headers=headers)
    assert github.minted[0].encode() not in answer.body
    assert len(answer.body) == len(github.echo)
    if length == 36:
        assert sandbox.environment["GH_TOKEN"].encode() in answer.body


@pytest.mark.parametrize(
    ("query", "variables", "target", "allowed"),
    [
        ('{repository(owner: "octocat", name: "Hello-World") {id}}', {}, "/graphql", True),
        ('{repository(owner: "evil", name: "exfiltration") {id}}', {}, "/graphql", False),
        ('{a: viewer {login} b: repository(owner: "evil", name: "x") {id}}', {}, "/graphql", False),
        ("query Q($i: ID!) {node(id: $i) {id}}", {"i": HELLO_ID}, "/graphql", True),
        ("query Q($i: ID!) {node(id: $i) {id}}", {"i": "MDEwOlJlcG9zaXRvcnk5OTk="}, "/graphql", False),
        (
            'mutation {createIssue(input: {repositoryId: "R_kgDOG2exfQ", title: "x"}) {issue {id}}}',
            {},
            "/graphql",
            False,
        ),
        ('{repository(owner: "evil", name: "x") {id}}', {}, "/x/..//%67raphql", False),
        ('{repository(owner: "evil", name: "x") {id}}', {}, "/GraphQL/", False),
    ],
)
async def test_graphql_keeps_to_the_installation(
    world: World, github: GitHub, query: str, variables: dict[str, str], target: str, allowed: bool
) -> None:
    """Whatever rule has allowed the request."""
    sandbox = await world.sandbox(credentials=[app()])
    body = json.dumps({"query": query, "variables": variables}).encode()
    answer = await request(
        sandbox,
        method="POST",
        target=target,
        headers=f"Authorization: bearer {sandbox.environment['GH_TOKEN']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n",
        body=body,
    )
    if allowed:
        assert answer.status == 200
        assert github.others[0].header("authorization") == f"bearer {github.minted[0]}"
    else:
        assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "graphql")
        assert github.others == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"query": "{a}", "query": "{b}"}'])
async def test_graphql_that_cannot_be_read_is_refused(world: World, github: GitHub, body: bytes) -> None:
    sandbox = await world.sandbox(credentials=[app()])
    answer = await request(
        sandbox,
        method="POST",
        target="/graphql",
        headers=f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n",
        body=body,
    )
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "graphql")


async def test_elsewhere_and_revoked_the_surrogate_is_refused(world: World, github: GitHub) -> None:
    sandbox = await world.sandbox("domains: ['*.example.test']", credentials=[app()])
    headers = f"Authorization: token {sandbox.environment['GH_TOKEN']}\r\n"
    assert (await request(sandbox, name="other.example.test", headers=headers)).status == 403
    assert (await request(sandbox, headers=headers)).status == 200
    world.engine.replace_credentials(sandbox.id, [])
    answer = await request(sandbox, headers=headers)
    assert (answer.status, json.loads(answer.body)["obstacle"]) == (403, "credential")


async def test_another_key_makes_another_token_behind_the_same_surrogate(
    world: World, github: GitHub
) -> None:
    sandbox = await world.sandbox(credentials=[app()])
    headers = f"Authorization: token {sandbox.environment['GH_TOKEN']}\r\n"
    assert (await request(sandbox, headers=headers)).status == 200
    world.engine.replace_credentials(sandbox.id, [app(permissions={"contents": "read"})])
    assert (await request(sandbox, headers=headers)).status == 200
    assert len(github.minted) == 2
    assert [seen.header("authorization") for seen in github.others] == [
        f"token {token}" for token in github.minted
    ]


async def test_no_other_account_goes_along_before_there_is_a_token(world: World, origin: Origin) -> None:
    sandbox = await world.sandbox(credentials=[app(scopes=("plain.allowed.test",))])
    foreign = "Authorization: Bearer ghp_theAgentsOwnTokenFromElsewhere0000\r\n"
    assert (await request(sandbox, name="plain.allowed.test", port=80, headers=foreign)).status == 200
    assert origin.seen[0].header("authorization") is None
