"""Output of any kind and size: nothing of it is fatal, little of it is held in memory, and all of it is kept."""

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from airut_sandbox.testing.containers import base_image, podman

from .site import Site, open_site

__all__ = ["base_image", "podman"]  # fixtures

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory, podman, base_image) -> AsyncIterator[Site]:
    async with open_site(tmp_path_factory.mktemp("site"), podman, base_image) as found:
        yield found


NOISE = {
    "a line without an end": "sys.stdout.write('x' * 30_000_000); sys.stdout.flush()",
    "broken JSON": 'for _ in range(100_000): raw(\'{"type": "assistant", "message": {\')',
    "bytes of any kind": "for _ in range(300): os.write(1, os.urandom(100_000))",
    "a hundred megabytes": "line = json.dumps({'type': 'noise', 'text': 'n' * 100_000})\nfor _ in range(1000): raw(line)",
}


@pytest.mark.parametrize("noise", NOISE)
async def test_noise_of_any_size_is_survived_and_kept_in_the_log(site: Site, noise: str) -> None:
    before = _peak_memory(site)
    reply = await site.ask(f"say('begun')\n{NOISE[noise]}\nraw('')\nresult('still here')")
    assert (reply.outcome, reply.text) == ("done", "still here")
    assert _peak_memory(site) - before < 100 * 1024 * 1024
    (packed,) = (site.state / "logs" / reply.conversation).iterdir()
    assert packed.name == f"{reply.id}.1.log.gz"
    with gzip.open(packed) as log:
        first, *_, last = log
    assert b"still here" in last or b"exit code" in last
    assert b"session_id" in first


def _peak_memory(site: Site) -> int:
    """Bytes, of the orchestrator until now."""
    status = Path(f"/proc/{site.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
