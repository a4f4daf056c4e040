"""A conversation's copy of a repository of 100 MB, beside `cp -a` of the mirror; also where files share blocks."""

import asyncio
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from airut_sandbox.mirror import Head, Mirror
from airut_sandbox.testing.git_server import run_git
from airut_sandbox.workspace import create_workspace
from bench.rows import Row, p50

FILES: Final = 200
FILE_BYTES: Final = 25_000
COMMITS: Final = 20
"""Each writes all files anew: 20 times 5 MB of history, 5 MB in the last."""
ROUNDS: Final = 7
REMOTE: Final = "https://git.example/large.git"
_IMAGE_BYTES: Final = 4 * 2**30


async def measure() -> list[Row]:
    """On the file system of temporary files, then on one with reflinks."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="airut-bench-") as name:
        folder = Path(name)
        source = await asyncio.to_thread(_repository, folder / "source")
        mirror, head = await _mirror(source, folder)
        ours, copies = await _rounds(mirror, head, folder)
        rows.append(
            Row(
                f"workspace of a repository of 100 MB, p50 of {ROUNDS}",
                f"{p50(ours):.0f} ms",
                f"{p50(copies):.0f} ms, `cp -a` of the mirror: {p50(ours) / p50(copies):.2f} of it",
                "< 1.3 of it",
                p50(ours) / p50(copies) < 1.3,
            )
        )
        with _reflinks(folder) as mounted:
            if mounted is None:
                rows.append(
                    Row("  where files share blocks", "needs root and mkfs.xfs", "", "< 200 ms", None)
                )
                return rows
            mirror, head = await _mirror(source, mounted)
            ours, copies = await _rounds(mirror, head, mounted)
            rows.append(
                Row(
                    "  where files share blocks (XFS in a file)",
                    f"{p50(ours):.0f} ms",
                    f"{p50(copies):.0f} ms, `cp -a` of the mirror",
                    "< 200 ms",
                    p50(ours) < 200,
                )
            )
    return rows


def _repository(bare: Path) -> Path:
    tree = bare.with_name("author")
    run_git("init", "--quiet", "--bare", "--initial-branch=main", str(bare), cwd=bare.parent)
    run_git("init", "--quiet", "--initial-branch=main", str(tree), cwd=bare.parent)
    made = random.Random(1)
    for number in range(COMMITS):
        for each in range(FILES):
            path = tree / f"folder-{each % 20}" / f"file-{each}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(made.randbytes(FILE_BYTES))
        run_git("add", "--all", cwd=tree)
        run_git("commit", "--quiet", "-m", f"version {number}", cwd=tree)
    run_git("push", "--quiet", str(bare), "main", cwd=tree)
    return bare


async def _mirror(source: Path, folder: Path) -> tuple[Mirror, Head]:
    mirror = Mirror(folder / "mirror.git", f"file://{source}", allowed_protocols=frozenset({"file"}))
    return mirror, await mirror.fetch("bench", None)


async def _rounds(mirror: Mirror, head: Head, folder: Path) -> tuple[list[float], list[float]]:
    """Milliseconds of ours and of `cp -a`, in turns; the first of each is not counted."""
    ours, copies = [], []
    for _ in range(ROUNDS + 1):
        await asyncio.to_thread(os.sync)  # what others left to write is not part of it
        began = time.perf_counter()
        await create_workspace(mirror, head, folder / "workspace", REMOTE)
        ours.append((time.perf_counter() - began) * 1000)
        shutil.rmtree(folder / "workspace")
        await asyncio.to_thread(os.sync)
        began = time.perf_counter()
        copying = await asyncio.create_subprocess_exec("cp", "-a", str(mirror.path), str(folder / "copy"))
        assert await copying.wait() == 0
        copies.append((time.perf_counter() - began) * 1000)
        shutil.rmtree(folder / "copy")
    return ours[1:], copies[1:]


@contextmanager
def _reflinks(folder: Path) -> Iterator[Path | None]:
    """A file system of our own on which files share blocks; None where it cannot be made."""
    if os.geteuid() != 0 or shutil.which("mkfs.xfs") is None:
        yield None
        return
    image, mounted = folder / "xfs.img", folder / "xfs"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=False).returncode:
        yield None
        return
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
