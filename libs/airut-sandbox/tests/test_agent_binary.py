"""The agent's binary from a registry: real HTTPS, tiny packages; once the real thing."""

import asyncio
import base64
import hashlib
import io
import os
import platform
import tarfile
from pathlib import Path

import pytest

from airut_common.processes import run
from airut_sandbox.agent_binary import (
    PACKAGE,
    PUBLIC_REGISTRY,
    AgentUnavailable,
    ensure_agent,
    platform_name,
    registry_url,
    sha512_of,
)
from airut_sandbox.testing.https_server import Authority
from airut_sandbox.testing.npm_registry import NpmRegistry

NAME = f"{PACKAGE}-{platform_name(platform.machine(), 'glibc')}"
SCRIPT = b"#!/bin/sh\necho 9.9.9\n"


class Cache:
    def __init__(self, folder: Path, registry: NpmRegistry, ca_file: Path | None) -> None:
        self.folder, self.registry, self.ca_file = folder, registry, ca_file

    async def ensure(self, version: str = "9.9.9") -> Path:
        return await ensure_agent(
            self.folder, version, registry=self.registry.url, ca_file=self.ca_file, timeout_seconds=20
        )

    def leftovers(self) -> list[str]:
        return [path.name for path in self.folder.rglob("*") if path.is_file() and path.name != "lock"]


@pytest.fixture
def cache(tmp_path: Path, npm_registry: NpmRegistry, authority: Authority) -> Cache:
    return Cache(tmp_path / "cache", npm_registry, authority.file)


async def test_fetched_checked_and_executable(cache: Cache) -> None:
    cache.registry.put(
        NAME, "9.9.9", {"package/README.md": b"read", "package/claude": SCRIPT, "package/z": b"z"}
    )
    program = await cache.ensure()
    assert program.stat().st_mode & 0o7777 == 0o555
    assert program.stat().st_nlink == 1
    assert (await run([str(program)], timeout_seconds=10)).stdout == b"9.9.9\n"
    assert cache.leftovers() == ["claude"]


async def test_a_cached_one_needs_no_registry(cache: Cache) -> None:
    cache.registry.put(NAME, "9.9.9", {"package/claude": SCRIPT})
    program = await cache.ensure()
    cache.registry.status = 503
    cache.registry.requests.clear()
    assert await cache.ensure() == program
    assert cache.registry.requests == []


async def test_versions_stand_side_by_side(cache: Cache) -> None:
    for version in ("1.0.0", "1.0.1-beta.2"):
        cache.registry.put(NAME, version, {"package/claude": version.encode()})
    first, second = [await cache.ensure(version) for version in ("1.0.0", "1.0.1-beta.2")]
    assert (first.read_bytes(), second.read_bytes()) == (b"1.0.0", b"1.0.1-beta.2")


async def test_many_at_once_download_once(cache: Cache) -> None:
    cache.registry.put(NAME, "9.9.9", {"package/claude": SCRIPT})
    programs = await asyncio.gather(*(cache.ensure() for _ in range(8)))
    assert len(set(programs)) == 1
    assert len([path for path in cache.registry.requests if path.startswith("/archive/")]) == 1


async def refused(cache: Cache, words: str, version: str = "9.9.9") -> None:
    with pytest.raises(AgentUnavailable, match=words):
        await cache.ensure(version)
    assert cache.leftovers() == []


async def test_other_bytes_than_announced(cache: Cache) -> None:
    cache.registry.put(NAME, "9.9.9", {"package/claude": SCRIPT})
    cache.registry.packages[f"{NAME}@9.9.9"] += b"more"
    await refused(cache, "sha512 differs")


async def test_no_sha512_is_no_integrity(cache: Cache) -> None:
    data = cache.registry.put(NAME, "9.9.9", {"package/claude": SCRIPT})
    weak = base64.b64encode(hashlib.sha1(data).digest()).decode()
    cache.registry.integrity[f"{NAME}@9.9.9"] = f"sha1-{weak}"
    await refused(cache, "no sha512")


async def test_no_such_version(cache: Cache) -> None:
    await refused(cache, "no such version")


@pytest.mark.parametrize("version", ["../9.9.9", "latest", "", "1.0", "1.0.0/../x", "1.0.0-a/b", "1.0.0\n"])
async def test_row_43_a_version_is_no_path(cache: Cache, version: str) -> None:
    with pytest.raises(AgentUnavailable, match="not a version"):
        await cache.ensure(version)
    assert not cache.folder.exists()


async def test_an_archive_over_plain_http_is_not_fetched(cache: Cache) -> None:
    cache.registry.put(NAME, "9.9.9", {"package/claude": SCRIPT})
    cache.registry.tarball[f"{NAME}@9.9.9"] = "http://localhost:1/x.tgz"
    await refused(cache, "only fetched over https")


async def test_row_70_a_registry_nobody_vouches_for(cache: Cache) -> None:
    cache.ca_file = None
    cache.registry.put(NAME, "9.9.9", {"package/claude": SCRIPT})
    await refused(cache, "cannot be reached")


async def test_a_registry_in_trouble(cache: Cache) -> None:
    cache.registry.status = 503
    await refused(cache, "HTTP 503")


async def test_row_43_hostile_archives_write_nothing_elsewhere(cache: Cache, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("../../escaped", str(tmp_path / "absolute")):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("package/claude")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    cache.registry.put(NAME, "9.9.9", buffer.getvalue())
    await refused(cache, "holds no program")
    assert not (tmp_path / "absolute").exists()
    assert not list(tmp_path.rglob("escaped"))


async def test_a_broken_archive(cache: Cache) -> None:
    cache.registry.put(NAME, "9.9.9", b"this is not gzip")
    await refused(cache, "cannot be stored")


def test_platforms() -> None:
    assert platform_name("x86_64", "glibc") == "linux-x64"
    assert platform_name("aarch64", "musl") == "linux-arm64-musl"
    with pytest.raises(AgentUnavailable, match="riscv64"):
        platform_name("riscv64", "glibc")


def test_the_registry_of_npm_is_honoured() -> None:
    assert registry_url({}) == PUBLIC_REGISTRY
    assert registry_url({"NPM_CONFIG_REGISTRY": "https://a/"}) == "https://a/"
    assert (
        registry_url({"NPM_CONFIG_REGISTRY": "https://a/", "npm_config_registry": "https://b/"})
        == "https://b/"
    )


def test_integrity_strings() -> None:
    value = base64.b64encode(b"x" * 64).decode()
    assert sha512_of(f"sha1-abc sha512-{value}?opt") == b"x" * 64
    with pytest.raises(AgentUnavailable, match="malformed"):
        sha512_of("sha512-***")


@pytest.mark.integration
@pytest.mark.timeout(900)
async def test_the_real_agent() -> None:
    root = Path(os.environ.get("AIRUT_CACHE_DIR") or Path.home() / ".cache" / "airut")
    program = await ensure_agent(root / "agent", "2.1.330")
    done = await run([str(program), "--version"], timeout_seconds=60)
    assert done.stdout.startswith(b"2.1.330")
