"""Real values are in the egress-proxy's memory and in its upstream requests, and nowhere else (acceptance 2)."""

import os
import re
from pathlib import Path

import pytest

from .conftest import ALL, Site, bash, text_of

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

LOOK = r"""
env; cat /proc/*/environ 2>/dev/null | tr '\0' '\n'; cat /proc/*/cmdline 2>/dev/null | tr '\0' ' '
git push -q origin HEAD:refs/heads/canary-$RANDOM
git config --list --show-origin; cat /root/.netrc /root/.git-credentials ~/.claude* 2>/dev/null
find / -xdev -type f -size -2M \( -path /proc -o -path /sys \) -prune -o -xdev -type f -size -2M -print0 2>/dev/null \
  | xargs -0 grep -aohE '(ghp_|sk-ant-api03-)[A-Za-z0-9]{20,}' 2>/dev/null | sort -u
grep -arohE '(ghp_|sk-ant-api03-)[A-Za-z0-9]{20,}' /workspace /agent /storage /etc 2>/dev/null | sort -u
"""


def in_memory(pid: int, values: list[bytes]) -> bool:
    """Whether a process's readable memory holds one of the values."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if found is None or "[v" in line:
                continue
            begin, end = (int(part, 16) for part in found.groups())
            try:
                memory.seek(begin)
                data = memory.read(end - begin)
            except (OSError, ValueError, OverflowError):
                continue
            if any(value in data for value in values):
                return True
    return False


def files_with(root: Path, values: list[bytes]) -> list[str]:
    """Files below a folder that hold one of the values."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink():
                data = file.read_bytes()
                found += [str(file.relative_to(root))] if any(value in data for value in values) else []
    return found


async def test_real_values_are_nowhere_else(site: Site) -> None:
    values = [site.world.git_token.encode(), site.world.api_key.encode()]
    reply = await site.ask(bash(LOOK), bash("cat /no/such/file; exit 3"), ALL, subject="Canary")
    assert "DEMO_GIT_TOKEN=ghp_" in text_of(reply), "the probe saw its surrogate"
    assert site.world.git.seen, "the real token reached the git host"
    raw = reply.as_bytes()
    assert not any(value in raw for value in values)
    # Streams, KV, object store, databases, conversations, mirrors, keys and every log of the installation.
    assert files_with(site.installation.folder / "state", values) == []
    log = site.installation.log_file.read_bytes()
    assert not any(value in log for value in values)
    holders = {name for name, pid in site.processes().items() if in_memory(pid, values)}
    assert holders == {"egress-proxy"}


async def test_crash_output_holds_none_of_them(site: Site) -> None:
    import signal

    values = [site.world.git_token.encode(), site.world.api_key.encode()]
    # SIGQUIT and SIGABRT make programs that dump state do so; the proxy must leave nothing of it in the log.
    os.kill(site.processes()["egress-proxy"], signal.SIGABRT)
    await site.ask(bash("git ls-remote origin"), ALL, subject="After the abort")
    log = site.installation.log_file.read_bytes()
    assert not any(value in log for value in values)
