"""Somebody who follows a page of the guide to mail: every block of it, in order, in an installation of their own."""

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dns.rdatatype
import dns.zone
import httpx
from markdown_it import MarkdownIt

from airut_common.config.models import InstallationConfig
from airut_common.config.yamlfile import load_yaml_model
from airut_common.processes import Completed, run
from airut_demo.installation import API_KEY, GIT_TOKEN, DemoInstallation, settings
from airut_demo.world.world import REPOSITORY, World
from airut_mail_auth.testing.zones import ZoneServer

DOCS = Path(__file__).parents[2] / "docs"
LANGUAGES = {"dns", "powershell", "sh", "text", "url", "yaml"}
"""Of blocks that a follower can run. PowerShell runs at the provider."""
COMMAND_SECONDS = 120
TELL_SECONDS = 30.0

type Mail = Callable[[], Awaitable[bytes]]
"""Sends a mail the way that the page has set up, and returns the one to be judged."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    line: int


class Page:
    """A page: its blocks, its links, and the words for what can go wrong."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (DOCS / f"{name}.md").read_text()
        tokens = MarkdownIt("commonmark").parse(self.text)
        assert not [token for token in tokens if token.type == "code_block"], (
            "blocks are fenced and have a language"
        )
        fences = [token for token in tokens if token.type == "fence"]
        self.blocks = [Block(one.info, one.content, (one.map or [0])[0] + 1) for one in fences]
        rows = [line for line in self.text.splitlines() if line.startswith("| ")]
        self._errors = [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in rows]

    def links(self) -> Iterator[tuple[Path, str]]:
        """Files and headings of ours that it leads to."""
        for target in re.findall(r"\]\(([^)\s]+)\)", self.text):
            if "://" not in target:
                file, _, heading = target.partition("#")
                yield (DOCS / f"{self.name}.md").parent / file if file else DOCS / f"{self.name}.md", heading

    def explains(self, words: str) -> bool:
        """Whether a row of its table begins with what stands in these words."""
        return any(quoted and all(text in words for text in quoted) for quoted in self._errors)


@dataclass
class Follower:
    """Runs the blocks of a page. What a provider's own host does is done by servers of the test."""

    page: Page
    folder: Path
    world: World
    image: str
    zone: ZoneServer
    authorities: Path
    adapt: Callable[[dict[str, Any]], None]
    """Puts this test's addresses into a configuration."""
    mails: list[Mail]
    """For each `airut mail verify` of the page, in order."""
    secrets: dict[str, str] = field(default_factory=dict)
    then: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What the test does when a command has been run."""
    here: Mapping[str, str] = field(default_factory=dict)
    """Words of commands that name other hosts, and this test's."""
    records: Mapping[str, str] = field(default_factory=dict)
    """Keys that a provider would show, by their names in the DNS."""
    environment: dict[str, str] = field(default_factory=dict)
    installation: DemoInstallation = field(init=False)
    config: InstallationConfig = field(init=False)
    """The one that the page showed last."""
    commands: list[str] = field(default_factory=list)
    at_the_provider: str = ""
    _done: Completed | None = None
    _judged: Completed | None = None
    _key: str = ""

    def __post_init__(self) -> None:
        self.installation = DemoInstallation(self.folder)
        self.folder.mkdir(mode=0o700)
        (self.folder / "judging").mkdir()
        programs = self.folder / "programs"
        programs.mkdir()
        # Rights of root, in a network of its own.
        (programs / "sudo").write_text('#!/bin/sh\nexec unshare --map-root-user --net "$@"\n')
        (programs / "sudo").chmod(0o755)
        self.installation.environment = {"SSL_CERT_FILE": str(self.authorities)}
        self.environment |= self.installation.environment | {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        }

    async def follow(self, blocks: Sequence[Block] | None = None) -> None:
        """Run the blocks; a language that is not known here is one that no test runs."""
        handlers: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "dns": self._publish,
            "powershell": self._remember,
            "sh": self._execute_all,
            "text": self._compare,
            "url": self._open,
            "yaml": self._configure,
        }
        assert set(handlers) == LANGUAGES
        for block in self.page.blocks if blocks is None else blocks:
            assert self._judged is None or block.language == "text", f"{block.line}: the verdict is not shown"
            await handlers[block.language](block.text)

    async def stop(self) -> None:
        """End the installation."""
        await self.installation.stop()

    async def until_told(self, words: str) -> None:
        """Wait until the log says so; the page must have a row for it."""
        try:
            async with asyncio.timeout(TELL_SECONDS):
                while True:
                    lines = self.installation.log_file.read_text(errors="replace").splitlines()
                    if found := next((line for line in lines if words in line), None):
                        break
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{words!r} is not told:\n{self.installation.log_tail()}") from None
        assert self.page.explains(found), f"{self.page.name}.md has no row for: {found}"

    async def shell(self, command: str, *, check: bool = True, cwd: Path | None = None) -> Completed:
        """What the page's reader would type."""
        named = re.fullmatch(r"airut secret set (\w+)", command)
        return await run(
            ["bash", "-euo", "pipefail", "-c", command],
            timeout_seconds=COMMAND_SECONDS,
            stdin=self.secrets[named[1]].encode() if named else None,
            env={**os.environ, **self.environment},
            cwd=cwd or self.folder,
            check=check,
        )

    async def _execute_all(self, text: str) -> None:
        for words, ours in self.here.items():
            text = text.replace(words, ours)
        for command in commands_of(text):
            self.commands.append(command)
            await self._execute(command)
            if (then := self.then.get(command)) is not None:
                await then()

    async def _execute(self, command: str) -> None:
        if command == "airut up":
            await self.installation.start()
            for name, value in ((GIT_TOKEN, self.world.git_token), (API_KEY, self.world.api_key)):
                await self.shell(f"printf %s {shlex.quote(value)} | airut secret set {name} --repo website")
        elif command.startswith("airut mail verify "):
            (self.folder / "judging" / command.split()[3]).write_bytes(await self.mails.pop(0)())
            # By the page's own configuration: nothing is dialled but the DNS server.
            self._judged = await self.shell(command, check=False, cwd=self.folder / "judging")
        else:
            self._done = await self.shell(command)
            if (printed := self._done.stdout.decode().strip()).startswith("v=DKIM1"):
                self._key = printed

    async def _compare(self, text: str) -> None:
        assert self._judged is not None, "a text shows what a verdict looks like"
        said = " ".join(self._judged.stdout.decode().split())
        for line in text.splitlines():
            assert " ".join(line.split()) in said, f"{line!r} is not in:\n{self._judged.stdout.decode()}"
        assert self._judged.returncode == (0 if "proven" in text else 1), self._judged.stderr.decode()
        self._judged = None

    async def _configure(self, text: str) -> None:
        self.config = load_yaml_model(text, f"{self.page.name}.md", InstallationConfig)
        shown = self.config.model_dump(mode="json", exclude_unset=True)
        shown["email"].setdefault("authentication", {})["resolver"] = self.zone.endpoint
        (self.folder / "judging" / "airut.yaml").write_text(json.dumps(shown))
        config = settings(self.world, base_image=self.image, real_model=False) | shown
        config["repos"] = {"website": settings_of_repository(self.world) | shown["repos"]["website"]}
        config["repos"]["website"]["git"] = settings_of_repository(self.world)["git"]
        self.adapt(config)
        self.installation.write(config)
        if self.installation.addresses:
            await self.shell("airut apply")

    async def _publish(self, text: str) -> None:
        records = dns.zone.from_text(
            "$TTL 60\n" + text.replace("…", "SHOWN"), origin=".", relativize=False, check_origin=False
        )
        for name, _, rdata in records.iterate_rdatas():
            owner, kind = name.to_text(omit_final_dot=True), dns.rdatatype.to_text(rdata.rdtype)
            if kind != "TXT":
                self.zone.add(owner, kind, rdata.to_text())
                continue
            value = b"".join(rdata.strings).decode()
            if "SHOWN" in value:
                value = self.records.get(owner) or self._key
                assert value.startswith("v=DKIM1; k=rsa; p="), owner
            self.zone.texts(owner, value)

    async def _remember(self, text: str) -> None:
        """Run at the provider, and nowhere else."""
        assert self.page.name == "email/microsoft-365"
        self.at_the_provider += text

    async def _open(self, text: str) -> None:
        """Sign in with a browser, and read the code in the address that it ends at."""
        url = urlsplit(text.strip())
        async with httpx.AsyncClient(verify=self.world.ca.client_context()) as browser:
            answer = await browser.get(
                f"https://localhost:{self.environment['TOKENS']}{url.path}", params=parse_qs(url.query)
            )
        assert answer.status_code == 302, answer.text
        self.environment["CODE"] = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    @property
    def printed(self) -> str:
        """What the last command wrote."""
        assert self._done is not None
        return self._done.stdout.decode()


def settings_of_repository(world: World) -> dict[str, Any]:
    """What the world's repository needs."""
    found: dict[str, Any] = settings(world, base_image="", real_model=False)["repos"][REPOSITORY]
    return found


def commands_of(text: str) -> list[str]:
    """The commands of a block; a line may go on in the next."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
