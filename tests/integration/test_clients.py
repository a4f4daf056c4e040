"""Real programs in a real sandbox, with surrogates alone, at services that take the real credentials alone.

Claude Code is the client of `test_conversations.py` and of the demo; `git push` under a killed egress-proxy is in
`test_crash.py`.
"""

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
import websockets.asyncio.server

from airut_common.contracts.v1 import EgressEvent
from airut_egress.testing.origin import Origin
from airut_sandbox.standalone import Asked, read_settings, run_command
from airut_sandbox.testing.containers import base_image, podman
from airut_sandbox.testing.git_server import GitServer, run_git
from airut_sandbox.testing.https_server import Authority, HttpsServer

from .clients.origins import API, GIT, LARGE, NPM, PYPI, S3, SECRETS, WS, Services
from .clients.tools import install

__all__ = ["base_image", "podman"]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

POLICY = "domains: ['*.example.test', '*.s3.example.test']\n"
CREDENTIALS = f"""
  GIT_TOKEN: {{scopes: [{GIT}]}}
  API_TOKEN: {{scopes: [{API}, {WS}]}}
  PYPI_TOKEN: {{scopes: [{PYPI}]}}
  NPM_TOKEN: {{scopes: [{NPM}]}}
  AWS_ACCESS_KEY_ID: {{type: aws-sigv4, scopes: ["*.{S3}", {S3}], services: [s3], regions: [eu-central-1]}}
"""
PYTHON = "PYTHONPATH=/workspace/tools/python PYTHONDONTWRITEBYTECODE=1 python3"
CLIENTS = {
    "git": f"""
        cd /workspace && git clone -q https://ci:$GIT_TOKEN@{GIT}/demo.git cloned && cd cloned
        echo more > more.txt && git add more.txt && git -c user.name=a -c user.email=a@b commit -qm more
        git push -q origin HEAD:refs/heads/from-the-sandbox && git ls-remote origin refs/heads/from-the-sandbox
    """,
    "git with a helper": f"""
        git -c credential.helper='!f() {{ echo username=ci; echo "password=$GIT_TOKEN"; }}; f' \
            ls-remote https://{GIT}/demo.git HEAD
    """,
    "curl http/1.1": f'curl -sS --fail --http1.1 -H "Authorization: Bearer $API_TOKEN" https://{API}/one?q=1',
    "curl http/2": f'curl -sS --fail --http2 -H "Authorization: Bearer $API_TOKEN" -d hello https://{API}/two',
    "as gh does": f"""
        curl -sS --fail -H "Authorization: token $API_TOKEN" -H 'Accept: application/vnd.github+json' \
            https://{API}/repos/ada/demo/pulls
        curl -sS --fail -H "Authorization: token $API_TOKEN" -d '{{"query": "{{viewer {{login}}}}"}}' https://{API}/graphql
    """,
    "pip": f"""
        PIP_INDEX_URL=https://ci:$PYPI_TOKEN@{PYPI}/simple/ python3 /workspace/tools/pip.whl/pip install -q --no-cache-dir \
            --disable-pip-version-check --root-user-action=ignore --target /workspace/installed airut-demo
        PYTHONPATH=/workspace/installed python3 -c 'import airut_demo; print(airut_demo.SAID)'
    """,
    "npm": f"""
        mkdir /workspace/app && cd /workspace/app && echo '{{"name": "app", "version": "1.0.0"}}' > package.json
        printf '@airut:registry=https://{NPM}/\\n//{NPM}/:_authToken=${{NPM_TOKEN}}\\n' > .npmrc
        export PATH=/workspace/tools/node/bin:$PATH
        node /workspace/tools/npm/bin/npm-cli.js install --no-audit --no-fund --no-update-notifier @airut/demo
        node -e "console.log(require('@airut/demo'))"
    """,
    "node fetch": f"""
        /workspace/tools/node/bin/node -e '
        fetch("https://{API}/node", {{method: "POST", body: "from node", headers: {{Authorization: "Bearer " + process.env.API_TOKEN}}}})
            .then(async answer => {{ if (!answer.ok) throw answer.status; console.log(await answer.text()) }})'
    """,
    "requests": f"""
        {PYTHON} -c '
import os, requests
with requests.Session() as session:
    for number in range(3):
        answer = session.get("https://{API}/requests", headers={{"Authorization": "Bearer " + os.environ["API_TOKEN"]}})
        answer.raise_for_status()
print(answer.text)'
    """,
    "httpx": f"""
        {PYTHON} -c '
import os, httpx
answer = httpx.post("https://{API}/httpx", content=b"from httpx", headers={{"Authorization": "Bearer " + os.environ["API_TOKEN"]}})
answer.raise_for_status()
print(answer.text)'
    """,
    "websocket": f"""
        {PYTHON} -c '
import os
from websockets.sync.client import connect
with connect("wss://{WS}/talk", additional_headers={{"Authorization": "Bearer " + os.environ["API_TOKEN"]}}) as talk:
    talk.send("hello"); print(talk.recv())
    talk.send(b"bytes" * 10000); print(len(talk.recv()))'
    """,
    "boto3": f"""
        {PYTHON} -c '
import boto3, hashlib, io
from boto3.s3.transfer import TransferConfig
s3 = boto3.client("s3", region_name="eu-central-1", endpoint_url="https://{S3}")
s3.put_object(Bucket="bucket", Key="a key+1.txt", Body=b"small")
print(s3.get_object(Bucket="bucket", Key="a key+1.txt")["Body"].read())
content = bytes(range(256)) * ({LARGE} // 256)
s3.upload_fileobj(io.BytesIO(content), "bucket", "large", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
print(hashlib.sha256(s3.get_object(Bucket="bucket", Key="large")["Body"].read()).hexdigest() == hashlib.sha256(content).hexdigest())
import urllib.request
print(urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=dict(Bucket="bucket", Key="a key+1.txt"))).read())'
    """,
}


@dataclass
class Ran:
    """What came of all of them."""

    output: dict[str, str]
    codes: dict[str, int]
    environment: dict[str, str]
    services: Services
    git: GitServer
    events: list[EgressEvent]


class _Events(list[EgressEvent]):
    record = list.append


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ran(tmp_path_factory: pytest.TempPathFactory, base_image: str) -> Ran:
    folder = tmp_path_factory.mktemp("clients")
    workspace = folder / "workspace"
    (workspace / "tools").mkdir(parents=True)
    await install(workspace / "tools")
    services, events = Services(), _Events()
    async with _served(folder, services) as (connect_to, ca_file, git):
        (folder / "sandbox.yaml").write_text(
            f"credentials:{CREDENTIALS}egress:\n  ca_file: {ca_file}\n  connect_to: {connect_to}\n"
        )
        asked = Asked(
            command=("bash", "-c", _script()), policy=POLICY, policy_source="policy", workspace=workspace,
            settings=read_settings(folder / "sandbox.yaml"), image=base_image, environment={**os.environ, **SECRETS},
        )  # fmt: skip
        lines: list[bytes] = []

        async def take(line: bytes) -> None:
            lines.append(line)

        ended = await run_command(asked, folder / "state", events, take)
        assert ended.code == 0, b"\n".join(lines)
    out = workspace / "out"
    return Ran(
        output={name: (out / f"{number}.txt").read_text() for number, name in enumerate(CLIENTS)},
        codes={name: int((out / f"{number}.code").read_text()) for number, name in enumerate(CLIENTS)},
        environment=dict(
            line.split("=", 1) for line in (out / "env").read_text().splitlines() if "=" in line
        ),
        services=services,
        git=git,
        events=events,
    )


def _script() -> str:
    parts = ["mkdir -p /workspace/out; env > /workspace/out/env"]
    for number, script in enumerate(CLIENTS.values()):
        parts.append(
            f"(set -e\n{script}\n) > /workspace/out/{number}.txt 2>&1; echo $? > /workspace/out/{number}.code"
        )
    return "\n".join(parts)


@asynccontextmanager
async def _served(folder: Path, services: Services) -> AsyncIterator[tuple[dict[str, str], Path, GitServer]]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority = Authority(ca, folder / "ca.pem")
    async with AsyncExitStack() as stack:
        names = (API, PYPI, NPM, S3, f"bucket.{S3}")
        origin = await stack.enter_async_context(Origin(names, ca).running())
        origin.respond = services.respond
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert(WS).configure_cert(context)
        talk = await stack.enter_async_context(
            websockets.asyncio.server.serve(_talk, "127.0.0.1", 0, ssl=context)
        )
        git = _git_server(folder, authority)
        server = HttpsServer(authority.server_context(GIT), git.handle)
        stack.callback(server.stop)
        connect_to = dict.fromkeys(names, origin.tls_address)
        connect_to |= {
            GIT: f"127.0.0.1:{server.port}",
            WS: f"127.0.0.1:{next(iter(talk.sockets)).getsockname()[1]}",
        }
        yield connect_to, authority.file, git


async def _talk(connection: websockets.asyncio.server.ServerConnection) -> None:
    request = connection.request
    if request is None or request.headers.get("Authorization") != f"Bearer {SECRETS['API_TOKEN']}":
        await connection.close(4001, "bad credentials")
        return
    async for message in connection:
        await connection.send(f"you are {SECRETS['API_TOKEN']}" if message == "hello" else message)


def _git_server(folder: Path, authority: Authority) -> GitServer:
    root, tree = folder / "served", folder / "author"
    root.mkdir()
    run_git("init", "-q", "--bare", "-b", "main", str(root / "demo.git"), cwd=folder)
    run_git("config", "http.receivepack", "true", cwd=root / "demo.git")
    run_git("init", "-q", "-b", "main", str(tree), cwd=folder)
    (tree / "file.txt").write_text("content\n" * 1000)
    run_git("add", ".", cwd=tree)
    run_git("commit", "-qm", "first", cwd=tree)
    run_git("push", "-q", str(root / "demo.git"), "main", cwd=tree)
    return GitServer(root, authority, token=SECRETS["GIT_TOKEN"])


@pytest.mark.parametrize("name", CLIENTS)
async def test_it_did_its_work(ran: Ran, name: str) -> None:
    assert ran.codes[name] == 0, ran.output[name]
    said = {
        "git": "refs/heads/from-the-sandbox",
        "git with a helper": "HEAD",
        "as gh does": '"login": "ada"',
        "pip": "from the wheel",
        "npm": "from the tarball",
        "node fetch": "from node",
        "httpx": "from httpx",
        "websocket": "50000",
        "boto3": "b'small'\nTrue\nb'small'",
    }
    assert said.get(name, "") in ran.output[name]


async def test_no_service_was_asked_without_its_credential(ran: Ran) -> None:
    # pip asks first without one, and again when it is told to; git does so too.
    assert [entry for entry in ran.services.refused if PYPI not in entry] == []
    allowed = [event for event in ran.events if event.kind == "request"]
    assert {event.decision for event in allowed} == {"allow"}
    used = {name for event in allowed for name in event.credentials}
    assert used == {"GIT_TOKEN", "API_TOKEN", "PYPI_TOKEN", "NPM_TOKEN", "AWS_ACCESS_KEY_ID"}


async def test_the_sandbox_saw_surrogates_alone(ran: Ran) -> None:
    everything = "\n".join([*ran.output.values(), *ran.environment.values()])
    for name, real in SECRETS.items():
        assert real not in everything, name
        assert ran.environment[name] != real
        assert len(ran.environment[name]) == len(real)
    # What the services told of the credential came back as the surrogate.
    for client in ("curl http/1.1", "curl http/2", "node fetch", "requests", "httpx", "websocket"):
        assert ran.environment["API_TOKEN"] in ran.output[client]


async def test_protocols_and_payloads(ran: Ran) -> None:
    assert ran.services.versions["/one?q=1"] == "HTTP/1.1"
    assert ran.services.versions["/two"] == "HTTP/2"
    assert "/@airut%2fdemo" in {target.lower() for target in ran.services.versions}
    assert len(ran.services.objects["/bucket/large"]) == LARGE
    assert {"presigned", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"} <= ran.services.payloads
