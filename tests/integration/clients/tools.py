"""Programs that are put into the sandbox's workspace: Node and npm from npm's registry, libraries of this environment."""

import base64
import ensurepip
import hashlib
import importlib.util
import io
import os
import platform
import shutil
import tarfile
from pathlib import Path
from typing import Final

import httpx

from airut_sandbox.agent_binary import platform_name, registry_url
from airut_sandbox.locks import file_lock

NODE: Final = "22.12.0"
NPM: Final = "10.9.2"
#: Pure Python, or able to do without their compiled parts: the sandbox has another Python than we.
LIBRARIES: Final = (
    "anyio", "boto3", "botocore", "certifi", "charset_normalizer", "dateutil", "h11", "httpcore", "httpx", "idna",
    "jmespath", "requests", "s3transfer", "six", "urllib3", "websockets", "typing_extensions",
)  # fmt: skip


async def install(folder: Path) -> None:
    """Put `node`, `npm`, `python` (libraries) and `pip.whl` into a folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airut" / "clients"
    cache.mkdir(parents=True, exist_ok=True)
    packages = (f"node-{platform_name(platform.machine(), 'glibc')}", NODE, "node"), ("npm", NPM, "npm")
    async with file_lock(cache / "lock", timeout_seconds=300):
        for package, version, name in packages:
            if not (cache / f"{package}-{version}").exists():
                await _fetch(package, version, cache / f"{package}-{version}")
            shutil.copytree(cache / f"{package}-{version}", folder / name, symlinks=True)
    for library in LIBRARIES:
        found = importlib.util.find_spec(library)
        assert found is not None, library
        origin = Path(found.origin or library)
        if origin.name == "__init__.py":
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            # Of botocore's data only what S3 needs: all of it takes seconds to copy.
            if library == "botocore":
                ignored = _without_other_services
            shutil.copytree(origin.parent, folder / "python" / library, ignore=ignored)
        else:
            shutil.copy(origin, folder / "python" / origin.name)
    (wheel,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(wheel, folder / "pip.whl")


def _without_other_services(folder: str, names: list[str]) -> list[str]:
    if Path(folder).name == "data":
        return [name for name in names if name != "s3" and "." not in name]
    return [name for name in names if name == "__pycache__"]


async def _fetch(package: str, version: str, target: Path) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        about = (await client.get(f"{registry_url(os.environ).rstrip('/')}/{package}/{version}")).json()
        archive = (await client.get(about["dist"]["tarball"])).raise_for_status().content
    kind, _, digest = about["dist"]["integrity"].partition("-")
    assert base64.b64encode(hashlib.new(kind, archive).digest()).decode() == digest
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(draft, filter="data")
    (draft / "package").rename(target)
    shutil.rmtree(draft)
