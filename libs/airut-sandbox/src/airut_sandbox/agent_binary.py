"""The Claude Code binary: fetched once per version from the npm registry, checked, mounted read-only.

The registry's platform package holds the program itself, so nothing of it is ever run on the host, no install
script either.
"""

import asyncio
import base64
import hashlib
import os
import platform
import re
import ssl
import tarfile
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal
from urllib.parse import urlsplit

import httpx
import structlog
from pydantic import BaseModel, StringConstraints, ValidationError

from airut_common.config.models import AGENT_VERSION_PATTERN
from airut_sandbox.errors import SandboxError
from airut_sandbox.locks import file_lock

_log = structlog.get_logger()

PUBLIC_REGISTRY = "https://registry.npmjs.org/"
PACKAGE = "@anthropic-ai/claude-code"
PROGRAM = "claude"

_VERSION = re.compile(AGENT_VERSION_PATTERN)
_MEMBER = f"package/{PROGRAM}"
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_MAX_METADATA_BYTES = 1024 * 1024
_MAX_ARCHIVE_BYTES = 1024**3
_MAX_PROGRAM_BYTES = 2 * 1024**3
_MAX_MEMBERS = 1_000
_CHUNK_BYTES = 1024 * 1024
_IDLE_SECONDS = 60


class AgentUnavailable(SandboxError):
    """This version of the agent cannot be had; `str()` says why."""


class _Dist(BaseModel):
    tarball: str
    integrity: Annotated[str, StringConstraints(max_length=4096)]


class _Metadata(BaseModel):
    """The part of a registry's answer for one version that matters here."""

    name: str
    version: str
    dist: _Dist


@dataclass(frozen=True)
class _Source:
    """Where a program comes from."""

    registry: str
    package: str
    version: str


async def ensure_agent(
    cache_dir: Path,
    version: str,
    *,
    libc: Literal["glibc", "musl"] = "glibc",
    registry: str | None = None,
    ca_file: Path | None = None,
    timeout_seconds: float = 900,
) -> Path:
    """The executable of exactly `version`, mode 0555, below `cache_dir`. What is there needs no network.

    `libc` is that of the image it will run in. `registry` None means npm's own setting in the environment, then
    the public one; `ca_file` holds authorities to trust besides the system's. Any number of processes may ask at
    once: one of them downloads.

    Raises:
        AgentUnavailable: no such version, a registry that cannot be reached, or bytes that are not the announced.
    """
    if not is_version(version):
        raise AgentUnavailable(f"{version!r} is not a version of the agent")
    flavour = platform_name(platform.machine(), libc)
    program = cache_dir / version / flavour / PROGRAM
    if program.is_file():
        return program
    source = _Source(registry or registry_url(os.environ), f"{PACKAGE}-{flavour}", version)
    try:
        program.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        async with asyncio.timeout(timeout_seconds):
            async with file_lock(program.with_name("lock"), timeout_seconds=timeout_seconds):
                if not program.is_file():  # somebody else may have fetched it meanwhile
                    await _fetch(source, program, ca_file)
    except TimeoutError as error:
        raise AgentUnavailable(
            f"{source.package} {version}: not here within {timeout_seconds:g} seconds"
        ) from error
    except httpx.HTTPError as error:
        raise AgentUnavailable(f"{source.package} {version}: {_explain(error)}") from error
    except (OSError, tarfile.TarError, EOFError) as error:
        raise AgentUnavailable(f"{source.package} {version}: cannot be stored ({error})") from error
    return program


def is_version(text: str) -> bool:
    """Whether it is an exact version, and no channel."""
    return _VERSION.fullmatch(text) is not None


async def published_version(channel: str, *, registry: str | None, ca_file: Path | None, package: str) -> str:
    """The version that a dist-tag of a package names now.

    Raises:
        AgentUnavailable: there is no such tag, or the registry cannot be asked.
    """
    source = _Source(registry or registry_url(os.environ), package, channel)
    try:
        async with _client(ca_file) as client:
            metadata = await _read_metadata(client, source)
    except httpx.HTTPError as error:
        raise AgentUnavailable(f"{package} {channel}: {_explain(error)}") from error
    if metadata.name != package or not is_version(metadata.version):
        raise AgentUnavailable(f"{package} {channel}: the registry answered for something else")
    return metadata.version


def platform_name(machine: str, libc: Literal["glibc", "musl"]) -> str:
    """The suffix of the platform package, such as `linux-x64` or `linux-arm64-musl`.

    Raises:
        AgentUnavailable: there is no package for this processor.
    """
    if machine.lower() not in _MACHINES:
        raise AgentUnavailable(f"there is no agent for {machine} processors")
    return f"linux-{_MACHINES[machine.lower()]}{'-musl' if libc == 'musl' else ''}"


def registry_url(environment: Mapping[str, str]) -> str:
    """npm's registry setting, which npm reads in either case; the public registry without one."""
    return environment.get("npm_config_registry") or environment.get("NPM_CONFIG_REGISTRY") or PUBLIC_REGISTRY


async def _fetch(source: _Source, program: Path, ca_file: Path | None) -> None:
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".fetch-", dir=program.parent)))
        client = await stack.enter_async_context(_client(ca_file))
        metadata = await _read_metadata(client, source)
        if (metadata.name, metadata.version) != (source.package, source.version):
            raise AgentUnavailable(
                f"{source.package} {source.version}: the registry answered for something else"
            )
        archive = folder / "package.tgz"
        await _download(client, metadata.dist, archive)
        await asyncio.to_thread(_extract, archive, folder / PROGRAM)
        (folder / PROGRAM).rename(program)
    seconds = round(time.monotonic() - started, 1)
    _log.info("agent fetched", package=source.package, version=source.version, seconds=seconds)


def _client(ca_file: Path | None) -> httpx.AsyncClient:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return httpx.AsyncClient(verify=context, timeout=_IDLE_SECONDS)


async def _read_metadata(client: httpx.AsyncClient, source: _Source) -> _Metadata:
    base = source.registry.rstrip("/")
    _require_https(base)
    url = f"{base}/{source.package.replace('/', '%2f')}/{source.version}"
    body = b""
    async with client.stream("GET", url, headers={"accept": "application/json"}) as response:
        if response.status_code == httpx.codes.NOT_FOUND:
            raise AgentUnavailable(f"{source.package} {source.version}: the registry has no such version")
        response.raise_for_status()
        async for part in response.aiter_bytes(_CHUNK_BYTES):
            body += part
            if len(body) > _MAX_METADATA_BYTES:
                raise AgentUnavailable(f"{source.package}: the registry's answer is too large")
    try:
        return _Metadata.model_validate_json(body)
    except ValidationError as error:
        raise AgentUnavailable(f"{source.package}: the registry's answer is not understood") from error


async def _download(client: httpx.AsyncClient, dist: _Dist, target: Path) -> None:
    _require_https(dist.tarball)
    wanted = sha512_of(dist.integrity)
    digest = hashlib.sha512()
    size = 0
    async with client.stream("GET", dist.tarball) as response:
        response.raise_for_status()
        with target.open("xb") as file:
            # The archive as it is on the wire: no content coding is ours to undo.
            async for part in response.aiter_raw(_CHUNK_BYTES):
                size += len(part)
                if size > _MAX_ARCHIVE_BYTES:
                    raise AgentUnavailable("the package is larger than any agent should be")
                digest.update(part)
                await asyncio.to_thread(file.write, part)
    if digest.digest() != wanted:
        raise AgentUnavailable("the package is not the one the registry announced (sha512 differs)")


def sha512_of(integrity: str) -> bytes:
    """The SHA-512 in a subresource integrity string.

    Raises:
        AgentUnavailable: it names no SHA-512; weaker hashes are not accepted.
    """
    for item in integrity.split():
        algorithm, _, value = item.partition("-")
        if algorithm == "sha512":
            try:
                return base64.b64decode(value.partition("?")[0], validate=True)
            except ValueError as error:
                raise AgentUnavailable("the registry's integrity value is malformed") from error
    raise AgentUnavailable("the registry gives no sha512 for the package")


def _require_https(url: str) -> None:
    if urlsplit(url).scheme != "https":
        raise AgentUnavailable("the agent is only fetched over https")


def _extract(archive: Path, target: Path) -> None:
    """Copy the one member that is the program; no other member's path is ever used."""
    with tarfile.open(archive, "r:gz") as tar:
        for count, member in enumerate(tar):
            if count > _MAX_MEMBERS:
                break
            if member.name != _MEMBER:
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None or member.size > _MAX_PROGRAM_BYTES:
                break
            with content:
                _write_program(content, target)
            return
    raise AgentUnavailable(f"the package holds no program at {_MEMBER}")


def _write_program(content: IO[bytes], target: Path) -> None:
    with target.open("xb") as file:
        while part := content.read(_CHUNK_BYTES):
            file.write(part)
        os.fchmod(file.fileno(), 0o555)
        file.flush()
        os.fsync(file.fileno())  # the name must never outlive the content in a power cut


def _explain(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"the registry answered HTTP {error.response.status_code}"
    return f"the registry cannot be reached ({type(error).__name__})"
