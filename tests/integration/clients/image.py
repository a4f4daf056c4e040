"""The image with the programs: Debian's packages on the base image, and npm, which Debian cuts into 360 packages."""

import base64
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

import httpx

from airut_sandbox.agent_binary import registry_url
from airut_sandbox.locks import file_lock
from airut_sandbox.podman import Podman

NPM_VERSION: Final = "10.9.2"
NPM_SHA512: Final = "iriPEPIkoMYUy3F6f3wwSZAU93E0Eg6cHwIR6jzzOXWSy+SD/rOODEs74cVONHKSx2obXtuUoyidVEhISrisgQ=="
RECIPE: Final = """\
ARG AIRUT_BASE
FROM ${AIRUT_BASE}
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends \
    ca-certificates curl git git-lfs gh nodejs python3-boto3 python3-httpx python3-pip python3-requests python3-websockets \
    && rm -rf /var/lib/apt/lists/*
ADD npm.tgz /opt/npm
RUN printf '#!/bin/sh\\nexec node /opt/npm/package/bin/npm-cli.js "$@"\\n' > /usr/local/bin/npm && chmod 755 /usr/local/bin/npm
"""
_BUILD_SECONDS: Final = 600.0


def clients_cache() -> Path:
    """What outlives a run of these tests."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airut" / "clients"


async def ensure_clients_image(podman: Podman, base: str) -> str:
    """The reference of the image, `localhost/airut-clients:<hash of what it is made of>`; built when it is missing.

    Only the build has a network: the host's, because that is the one that every host has.
    """
    base_id = (await podman.run("image", "inspect", "--format={{.Id}}", base)).stdout.decode()
    key = hashlib.sha256("\0".join((RECIPE, NPM_SHA512, base_id)).encode()).hexdigest()
    reference = f"localhost/airut-clients:{key[:12]}"
    (folder := clients_cache()).mkdir(parents=True, exist_ok=True)
    async with file_lock(folder / "lock", timeout_seconds=_BUILD_SECONDS):
        if (await podman.run("image", "exists", reference, check=False)).returncode != 0:
            await _build(podman, base, reference)
    return reference


async def _build(podman: Podman, base: str, reference: str) -> None:
    with tempfile.TemporaryDirectory(prefix="clients-", dir=podman.state_dir) as context:
        (Path(context) / "Containerfile").write_text(RECIPE)
        (Path(context) / "npm.tgz").write_bytes(await _npm())
        options = ("--network=host", "--pull=never", "--force-rm", f"--build-arg=AIRUT_BASE={base}")
        await podman.run("build", *options, "-t", reference, context, timeout_seconds=_BUILD_SECONDS)


async def _npm() -> bytes:
    url = f"{registry_url(os.environ).rstrip('/')}/npm/-/npm-{NPM_VERSION}.tgz"
    async with httpx.AsyncClient(timeout=60, follow_redirects=True) as client:
        archive = (await client.get(url)).raise_for_status().content
    assert base64.b64encode(hashlib.sha512(archive).digest()).decode() == NPM_SHA512
    return archive
