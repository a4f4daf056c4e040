"""Real programs in a real sandbox, with surrogates alone, at services that take the real credentials alone.

Claude Code is the client of `test_conversations.py` and `test_crash.py` here, and of `demo/tests/test_run.py`; boto3 is that
of `test_clients_s3.py`. A clone and Claude Code under a killed egress-proxy are in `test_crash.py`.
"""

import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from websockets.asyncio.server import ServerConnection, serve

from airut_egress.testing.origin import Origin
from airut_sandbox.podman import Podman
from airut_sandbox.testing.containers import base_image, podman
from airut_sandbox.testing.git_server import GitServer, run_git
from airut_sandbox.testing.https_server import Authority, HttpsServer

from .clients.image import ensure_clients_image
from .clients.origins import API, GIT, GITHUB, NPM, PYPI, SECRETS, WS, Services
from .clients.stage import Played, play

__all__ = ["base_image", "podman"]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),  # the image may have to be built first
]

PROGRAMS = Path(__file__).parent / "clients" / "programs"
GITHUB_GIT = "github.com"
POLICY = f"domains: ['*.example.test', {GITHUB}, {GITHUB_GIT}]\n"
CREDENTIALS = {
    "GIT_TOKEN": {"scopes": [GIT]},
    "GH_TOKEN": {"scopes": [GITHUB, GITHUB_GIT]},
    "API_TOKEN": {"scopes": [API, WS]},
    "PYPI_TOKEN": {"scopes": [PYPI]},
    "NPM_TOKEN": {"scopes": [NPM]},
}
SAID = {
    "git_url": "refs/heads/from-the-sandbox",
    "git_helper": "refs/heads/by-a-helper",
    "gh": "https://github.com/ada/demo/issues/7",
    "gh_clone": "refs/heads/by-gh",
    "curl_http1": "HTTP/1.1 200",
    "curl_http2": "from curl",
    "pip": "from the wheel",
    "npm": "from the tarball",
    "node_fetch": "from node",
    "with_requests": "from requests",
    "with_httpx": "from httpx",
    "with_websockets": "50000",
}
"""Program to what it prints when it has done its work."""
TOLD = {
    "gh": ("GH_TOKEN", 4),
    "curl_http1": ("API_TOKEN", 2),
    "curl_http2": ("API_TOKEN", 2),
    "node_fetch": ("API_TOKEN", 2),
    "with_requests": ("API_TOKEN", 2),
    "with_httpx": ("API_TOKEN", 2),
    "with_websockets": ("API_TOKEN", 2),
}
"""Program to the credential that its service repeats, and how often at least it prints that."""


@dataclass
class Outside:
    """The services, and everything in which a credential could have reached them."""

    services: Services
    origin: Origin
    gits: Sequence[GitServer]
    connect_to: dict[str, str]
    ca_file: Path
    talked: list[str] = field(default_factory=list)
    """Credentials of WebSockets."""

    def credentials(self) -> list[str]:
        """Every value of a header, and what Basic hides."""
        values = [*self.talked, *(value for git in self.gits for value in git.authorizations)]
        values += [value for seen in self.origin.seen for _, value in seen.headers]
        return values + [
            base64.b64decode(value[6:]).decode() for value in values if value.startswith("Basic ")
        ]


@asynccontextmanager
async def open_outside(folder: Path) -> AsyncIterator[Outside]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority = Authority(ca, folder / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(WS).configure_cert(context)
    services, names = Services(), (API, GITHUB, PYPI, NPM)
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(Origin(names, ca).running())
        origin.respond = services.respond
        gits, connect_to = [], dict.fromkeys(names, origin.tls_address)
        root = repositories(folder)
        for name, token in ((GIT, "GIT_TOKEN"), (GITHUB_GIT, "GH_TOKEN")):
            gits.append(GitServer(root, authority, token=SECRETS[token]))
            server = HttpsServer(authority.server_context(name), gits[-1].handle)
            stack.callback(server.stop)
            connect_to[name] = f"127.0.0.1:{server.port}"
        outside = Outside(services, origin, gits, connect_to, authority.file)
        talk = await stack.enter_async_context(
            serve(lambda connection: converse(connection, outside), "127.0.0.1", 0, ssl=context)
        )
        connect_to[WS] = f"127.0.0.1:{next(iter(talk.sockets)).getsockname()[1]}"
        yield outside


async def converse(connection: ServerConnection, outside: Outside) -> None:
    """Tell who asks what its credential is, as text and as bytes; then repeat what is said."""
    assert connection.request is not None
    outside.talked.append(connection.request.headers.get("Authorization", ""))
    if outside.talked[-1] != f"Bearer {SECRETS['API_TOKEN']}":
        await connection.close(4001, "bad credentials")
        return
    async for message in connection:
        if message == "who am I?":
            await connection.send(f"you are {SECRETS['API_TOKEN']}")
            await connection.send(f"you are {SECRETS['API_TOKEN']}".encode())
        else:
            await connection.send(message)


def repositories(folder: Path) -> Path:
    """`demo.git`, and the same as `ada/demo.git`, with one commit on `main`."""
    root, tree = folder / "served", folder / "author"
    bare = root / "demo.git"
    (root / "ada").mkdir(parents=True)
    (root / "ada" / "demo.git").symlink_to(bare)
    run_git("init", "-q", "--bare", "-b", "main", str(bare), cwd=folder)
    run_git("config", "http.receivepack", "true", cwd=bare)
    run_git("init", "-q", "-b", "main", str(tree), cwd=folder)
    (tree / "file.txt").write_text("content\n" * 1000)
    run_git("add", ".", cwd=tree)
    run_git("commit", "-qm", "first", cwd=tree)
    run_git("push", "-q", str(bare), "main", cwd=tree)
    return root


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    tmp_path_factory: pytest.TempPathFactory, podman: Podman, base_image: str
) -> tuple[Played, Outside]:
    """All programs have run."""
    folder = tmp_path_factory.mktemp("clients")
    image = await ensure_clients_image(podman, base_image)
    async with open_outside(folder) as outside:
        egress = {"ca_file": str(outside.ca_file), "connect_to": outside.connect_to}
        settings = {"credentials": CREDENTIALS, "egress": egress}
        done = await play(PROGRAMS, folder, image=image, policy=POLICY, settings=settings, secrets=SECRETS)
    return done, outside


async def test_every_program_is_looked_at(played: tuple[Played, Outside]) -> None:
    assert played[0].codes.keys() == SAID.keys()


@pytest.mark.parametrize("program", SAID)
async def test_it_did_its_work(played: tuple[Played, Outside], program: str) -> None:
    done, _ = played
    assert done.codes[program] == 0, done.output[program]
    assert SAID[program] in done.output[program]


async def test_the_real_credential_arrived_at_each_service(played: tuple[Played, Outside]) -> None:
    done, outside = played
    assert outside.services.admitted.keys() == {API, GITHUB, PYPI, NPM}
    heard = "\n".join(outside.credentials())
    for name, real in SECRETS.items():
        assert real in heard, name
    assert {name for event in done.requests() for name in event.credentials} == SECRETS.keys()


async def test_no_surrogate_arrived_anywhere(played: tuple[Played, Outside]) -> None:
    done, outside = played
    heard = "\n".join(outside.credentials())
    for name in SECRETS:
        assert done.environment[name] not in heard, name


async def test_no_service_was_asked_without_its_credential(played: tuple[Played, Outside]) -> None:
    assert played[1].services.refused == []
    assert {event.decision for event in played[0].requests()} == {"allow"}


async def test_the_sandbox_saw_surrogates_alone(played: tuple[Played, Outside]) -> None:
    done, _ = played
    everything = "\n".join([*done.output.values(), *done.environment.values()])
    for name, real in SECRETS.items():
        assert real not in everything, name
        assert len(done.environment[name]) == len(real)


@pytest.mark.parametrize("program", TOLD)
async def test_what_a_service_repeats_comes_back_as_the_surrogate(
    played: tuple[Played, Outside], program: str
) -> None:
    done, _ = played
    name, times = TOLD[program]
    assert done.output[program].count(done.environment[name]) >= times, done.output[program]


async def test_each_protocol_went_all_the_way(played: tuple[Played, Outside]) -> None:
    versions = played[1].services.versions
    assert versions["/curl1?q=1"] == "HTTP/1.1"
    assert versions["/curl2"] == "HTTP/2"
    assert "/@airut%2fdemo" in {target.lower() for target in versions}
