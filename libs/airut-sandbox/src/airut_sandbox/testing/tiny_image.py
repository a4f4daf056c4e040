"""An image of three megabytes out of this host's own shell: enough to build on, without a registry."""

import io
import re
import shutil
import tarfile
from pathlib import Path

from airut_common.processes import run
from airut_sandbox.podman import Podman

PROGRAMS = ("sh", "cat", "cp", "mkdir", "chmod", "ls")


async def import_tiny_image(podman: Podman, reference: str) -> str:
    """Import it as `reference` and return its id."""
    archive = await _archive()
    done = await podman.run("import", "--quiet", "-", reference, stdin=archive, timeout_seconds=120)
    return done.stdout.decode().strip().removeprefix("sha256:")


async def _archive() -> bytes:
    """`/bin` with the programs, and their libraries where they look for them."""
    buffer = io.BytesIO()
    libraries: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in PROGRAMS:
            path = Path(shutil.which(name) or name).resolve()
            tar.add(path, arcname=f"bin/{name}")
            linked = (await run(["ldd", str(path)], timeout_seconds=20)).stdout.decode()
            libraries |= set(re.findall(r"(/\S+) \(0x", linked))
        for library in sorted(libraries):
            tar.add(Path(library).resolve(), arcname=library.lstrip("/"))
        for folder in ("etc/ssl/certs", "tmp"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        bundle = tarfile.TarInfo("etc/ssl/certs/ca-certificates.crt")
        bundle.size = len(b"OTHERS\n")
        tar.addfile(bundle, io.BytesIO(b"OTHERS\n"))
    return buffer.getvalue()
