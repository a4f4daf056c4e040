"""The whole world in one place: opened for a demo or for a test, and gone afterwards."""

import asyncio
import secrets
import string
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airut_demo.world.dns_zones import Zones, domain_records, serve_zones
from airut_demo.world.git_https import GitHost
from airut_demo.world.https import serve_https
from airut_demo.world.mail_user import SELECTOR, Mailbox, SigningDomain, serve_mailbox
from airut_demo.world.messages_api import Script, ScriptedModel
from airut_demo.world.tls import WorldCa

USER = "ada@lovelace.example"
USER_DOMAIN = "lovelace.example"
GIT_NAME = "git.demo.example"
MODEL_NAME = "api.anthropic.com"
EXFIL_NAME = "exfil.demo.example"
REPOSITORY = "demo"
API_KEY_PREFIX = "sk-ant-api03-"

_SAMPLE = {
    "README.md": "# A greeting\n\n`python3 greet.py Ada` greets Ada.\n",
    "greet.py": 'import sys\n\nprint(f"Helo, {sys.argv[1]}!")\n',
    ".airut/network-allowlist.yaml": (
        f"domains:\n  - {MODEL_NAME}\nurl_prefixes:\n  - host: {GIT_NAME}\n    path: /{REPOSITORY}.git/*\n"
    ),
    ".airut/container/Dockerfile": (
        "ARG AIRUT_BASE=docker.io/library/debian:bookworm-slim\nFROM ${AIRUT_BASE}\nLABEL project=greeting\n"
    ),
}


class Forbidden:
    """A host that answers everybody, and that nobody in a sandbox may reach: an ASGI application."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    async def __call__(self, scope: Mapping[str, Any], _receive: object, send: Callable[..., Any]) -> None:
        """Answer 200 and remember who came."""
        self.requests.append(f"{scope['method']} {scope['path']}")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"thank you\n"})


@dataclass(frozen=True)
class World:
    """Addresses are `127.0.0.1:port`."""

    ca: WorldCa
    zones: Zones
    resolver: str
    domain: SigningDomain
    mailbox: Mailbox
    mail_address: str
    git: GitHost
    git_address: str
    bare_repository: Path
    model: ScriptedModel
    model_address: str
    exfil: Forbidden
    exfil_address: str
    git_token: str
    """The real one; a sandbox must never see it."""
    api_key: str
    """The real one; a sandbox must never see it."""

    def connect_to(self) -> Mapping[str, str]:
        """Where the world's HTTPS hosts are to be dialled."""
        return {
            GIT_NAME: self.git_address,
            MODEL_NAME: self.model_address,
            EXFIL_NAME: self.exfil_address,
        }


@asynccontextmanager
async def open_world(
    folder: Path, scripts: Sequence[Script], *, files: Mapping[str, str] | None = None
) -> AsyncIterator[World]:
    """Start every server; `files` are added to the sample repository, or replace parts of it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        ca = WorldCa(folder)
        domain, zones = SigningDomain(USER_DOMAIN), Zones()
        zones.records |= domain_records(USER_DOMAIN, dkim_selector=SELECTOR, dkim_record=domain.record)
        zones.add("rebind.demo.example", "A", "127.0.0.1")
        git = GitHost(folder / "git", token=_token("ghp_", 36))
        git.root.mkdir()
        bare = await asyncio.to_thread(git.create, REPOSITORY, _SAMPLE | dict(files or {}))
        model = ScriptedModel(key=_token(API_KEY_PREFIX, 80), scripts=scripts)
        mailbox, exfil = Mailbox(), Forbidden()
        yield World(
            ca=ca,
            zones=zones,
            resolver=await stack.enter_async_context(serve_zones(zones)),
            domain=domain,
            mailbox=mailbox,
            mail_address=await stack.enter_async_context(serve_mailbox(mailbox)),
            git=git,
            git_address=await stack.enter_async_context(serve_https(git.application(), ca.issue(GIT_NAME))),
            bare_repository=bare,
            model=model,
            model_address=await stack.enter_async_context(
                serve_https(model.application(), ca.issue(MODEL_NAME))
            ),
            exfil=exfil,
            exfil_address=await stack.enter_async_context(serve_https(exfil, ca.issue(EXFIL_NAME))),
            git_token=git.token,
            api_key=model.key,
        )


def _token(prefix: str, length: int) -> str:
    alphabet = string.ascii_letters + string.digits
    return prefix + "".join(secrets.choice(alphabet) for _ in range(length))
