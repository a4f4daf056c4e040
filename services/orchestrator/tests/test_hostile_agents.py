"""A fully hostile agent against the host's side: what it leaves behind, and what it says. Rows 37, 40-44, 62, 64."""

import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from airut_common.contracts.v1 import Reply
from airut_sandbox.beneath import discard_tree
from airut_sandbox.testing.containers import base_image, podman

from .site import Site, open_site

__all__ = ["base_image", "podman"]  # fixtures

pytestmark = [
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory, podman, base_image) -> AsyncIterator[Site]:
    async with open_site(tmp_path_factory.mktemp("site"), podman, base_image) as found:
        yield found


def _root(site: Site, reply: Reply) -> Path:
    return site.state / "conversations" / reply.conversation


# -- git ------------------------------------------------------------------------------------------------------

#: What is planted (a script for the workspace; `TRAP` is a program that leaves a mark on whatever machine runs it), and
#: an ordinary git command that would fall into it.
GIT_TRAPS = {
    "a hook": ("mkdir -p .git/hooks; printf '#!/bin/sh\\nTRAP\\n' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout", "checkout -f -B x"),
    "a folder of hooks": (
        "mkdir h; printf '#!/bin/sh\\nTRAP\\n' > h/post-checkout; chmod +x h/*; git config core.hooksPath $PWD/h; "
        "git config core.hooksPath h",
        "checkout -f -B x",
    ),
    "core.fsmonitor": ("git config core.fsmonitor 'TRAP; false'", "status"),
    "core.sshCommand": ("git config core.sshCommand 'TRAP; false'; git remote set-url origin git@localhost:x", "fetch"),
    "a clean filter": (
        "git config filter.x.clean 'TRAP; cat'; echo '* filter=x' > .gitattributes; echo more >> README.md",
        "add --all",
    ),
    "a process filter": (
        "mkdir -p .git/info; git config filter.x.process 'TRAP; false'; echo '* filter=x' > .git/info/attributes; echo more >> README.md",
        "add --all",
    ),
    "a diff driver": (
        "git config diff.x.textconv 'TRAP; cat'; echo '* diff=x' > .gitattributes; echo more >> README.md",
        "diff",
    ),
    "an alias": ("git config alias.st '!TRAP'", "st"),
    "include.path": ("printf '[core]\\nfsmonitor = TRAP; false\\n' > c; git config include.path ../c", "status"),
    "includeIf": (
        "printf '[core]\\nfsmonitor = TRAP; false\\n' > c; git config 'includeIf.onbranch:**.path' ../c",
        "status",
    ),
    "a submodule with a program for a URL": (
        "printf '[submodule \"x\"]\\npath = x\\nurl = ext::TRAP\\n' > .gitmodules; git config protocol.ext.allow always; "
        "git add .gitmodules; git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),x",
        "submodule update --init",
    ),
    "an editor": ("git config core.editor 'TRAP; false'; git config user.email a@b.example", "commit --amend"),
    "a .git that is a file": (
        "mv .git g; echo 'gitdir: g' > .git; git config core.fsmonitor 'TRAP; false'",
        "status",
    ),
    "a .git that is a link": ("mv .git g; ln -s g .git; git config core.fsmonitor 'TRAP; false'", "status"),
    "a repository in the repository": (
        "rm -rf .git/hooks; git init -q n; git -C n config core.fsmonitor 'TRAP; false'; echo x > n/x; git add n || true",
        "-C n status",
    ),
    "a bare repository in the repository": (
        "git clone -q --bare . b; git -C b config core.bare false; git -C b config core.worktree ..; "
        "git -C b config core.fsmonitor 'TRAP; false'",
        "-C b status",
    ),
    "a worktree": (
        "git worktree add -q --detach w; echo '../.git/worktrees/w' > /dev/null; "
        "sed -i 's,/workspace/,../,' w/.git; git config core.fsmonitor 'TRAP; false'",
        "-C w status",
    ),
}  # fmt: skip


@pytest.mark.parametrize("trap", GIT_TRAPS)
async def test_row_40_what_is_planted_for_git_never_runs_on_the_host(site: Site, trap: str) -> None:
    """First git itself falls into it, on a copy; then the conversation goes on, and is removed, and nothing ran."""
    script, command = GIT_TRAPS[trap]
    mark = site.folder / f"mark-{uuid.uuid4().hex[:8]}"
    script = script.replace("TRAP", f"touch {mark}")
    reply = await site.ask(f"result(system({script!r}))")
    assert reply.outcome == "done", reply.text
    root = _root(site, reply)
    _fall_into(root / "workspace", site.folder / f"copy-{mark.name}", command)
    assert mark.exists(), "the trap does not work"
    mark.unlink()
    again = await site.ask("result(system('git status --short | head -3'))", conversation=reply.conversation)
    assert again.outcome == "done"
    stop = await site.send("say('here'); sleep(60)", conversation=reply.conversation)
    await site.until_said(stop, "here")
    await site.ask("", text="stop", conversation=reply.conversation)
    await site.reply_to(stop)
    await discard_tree(root, site.podman)
    assert not root.exists()
    assert not mark.exists()


def _fall_into(workspace: Path, copy: Path, command: str) -> None:
    shutil.copytree(workspace, copy, symlinks=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(copy), "GIT_ALLOW_PROTOCOL": "ext:file:ssh"}
    subprocess.run(
        ["git", "-c", "safe.directory=*", *command.split()],
        cwd=copy, env=environment, capture_output=True, check=False, timeout=30, stdin=subprocess.DEVNULL,
    )  # fmt: skip
