"""What an operator and a person do with a running installation: stop a task, remove what is old."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import pytest

from airut_common.processes import run
from airut_demo.installation import GIT_TOKEN, DemoInstallation
from airut_demo.world.world import REPOSITORY

from .conftest import ALL, Site, bash, podman_with_image, text_of

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

STOP_SECONDS = 10.0
"""The agent has to be gone within 5 s of the orchestrator's hearing of it; the rest is the mail's way."""
MANUAL = Path(__file__).parents[2] / "docs" / "operations.md"
WORK = "echo half > /workspace/half.txt; echo begun > /outbox/begun.txt; sleep 60; echo never"


async def test_a_message_that_says_stop(site: Site) -> None:
    first = await site.ask(bash("echo hello"), ALL, subject="Stop me")
    long = await site.send(f"Do {site.script(bash(WORK), ALL)}", reply_to=first, subject="Re: Stop me, long")
    await site.until("Re: Stop me, long", "running")
    waits = await site.send(
        f"Do {site.script(bash('echo also'), ALL)}", reply_to=first, subject="Re: Stop me, waits"
    )
    await _until_file_of(site, "Re: Stop me, long")
    asked = time.monotonic()
    wish = await site.send("Stop.\n\n-- \nAda", reply_to=first, subject="Re: Stop me, wish")
    stopped = await site.reply_to(long, STOP_SECONDS)
    assert time.monotonic() - asked < STOP_SECONDS
    assert "Stopped by ada@lovelace.example" in text_of(stopped)
    assert [part.get_filename() for part in stopped.iter_attachments()] == ["begun.txt"]
    assert "before it began" in text_of(await site.reply_to(waits))
    assert "Stopped 2 tasks" in text_of(await site.reply_to(wish))
    states = {task["subject"]: task["state"] for task in await site.api("/tasks")}
    assert [states[f"Re: Stop me, {name}"] for name in ("long", "waits", "wish")] == [
        "stopped",
        "stopped",
        "done",
    ]
    resumed = await site.ask(
        bash("cat /workspace/half.txt; ls /outbox"), ALL, reply_to=stopped, subject="Re: Stop me, on"
    )
    assert "half" in text_of(resumed)
    assert "never" not in text_of(resumed)


async def test_the_command(site: Site) -> None:
    mail = await site.send(f"Do {site.script(bash(WORK), ALL)}", subject="Stop by command")
    task = await site.until("Stop by command", "running")
    # A command that only sleeps is refused by the agent's program, and the task would be over.
    await _until_file_of(site, "Stop by command")
    assert await _airut(site, "stop", task["id"]) == (0, f"{task['id']}: stopped\n")
    assert "Stopped by the operator" in text_of(await site.reply_to(mail, STOP_SECONDS))
    code, said = await _airut(site, "stop", task["id"])
    assert (code, "nothing to stop" in said) == (1, True)
    code, said = await _airut(site, "stop", "no id")
    assert (code, "is not the id of a task" in said) == (2, True)


async def test_the_networks_of_sandboxes_are_listed(site: Site) -> None:
    await site.send(f"Do {site.script(bash(WORK), ALL)}", subject="Listed")
    task = await site.until("Listed", "running")
    await _until_file_of(site, "Listed")
    code, said = await _airut(site, "egress", "sessions", "--json")
    (found,) = [each for each in json.loads(said) if each["task"] == task["id"]]
    assert (code, found["repo"], found["attached"], found["requests"] > 0) == (0, "demo", True, True)
    code, said = await _airut(site, "egress", "sessions")
    assert (code, task["id"] in said, "demo" in said) == (0, True, True)
    assert await _airut(site, "stop", task["id"]) == (0, f"{task['id']}: stopped\n")
    await site.until("Listed", "stopped")


async def test_gc_removes_nothing_that_is_used(site: Site) -> None:
    await site.ask(bash("true"), ALL, subject="Still used")
    assert await _airut(site, "gc", "--dry-run") == (
        0,
        "0 conversations, 0 images and 0 versions of the agent would be removed\n",
    )


async def test_the_commands_of_the_manual(site: Site, tmp_path: Path) -> None:
    await site.send(f"Do {site.script(bash(WORK), ALL)}", subject="By the manual")
    task = await site.until("By the manual", "running")
    await _until_file_of(site, "By the manual")
    # The first starts the installation, which runs here already.
    _, *lines = (line.partition("#")[0] for line in block_below("## Start, change, stop").splitlines())
    said = {}
    mail = tmp_path / "saved.eml"
    mail.write_text("From: ada@lovelace.example\nTo: demo@airut.example\nSubject: Hi\n\nHi\n")
    for line in lines:
        words = line.replace("TASK", task["id"]).replace("saved.eml", str(mail)).split()
        assert words[0] == "airut"
        assert words[-2:] == ["-c", "airut.yaml"]
        said[words[1]] = await _airut(site, *words[1:-2])
    assert {name: code for name, (code, _) in said.items() if code != 0} == {"mail": 1}
    assert "refused" in said["mail"][1]
    assert "echo half" in said["log"][1]
    assert task["id"] in said["stop"][1]
    assert "nothing changed" in said["apply"][1]
    await site.until("By the manual", "stopped")


async def test_a_secret_by_the_commands_of_the_manual(site: Site) -> None:
    folder = site.installation.config_file.parent
    (folder / "token.txt").write_text(site.world.git_token)
    told = {"GITHUB_TOKEN": GIT_TOKEN, "--repo website": f"--repo {REPOSITORY}"}
    block = block_below("## Secrets")
    for name, ours in told.items():
        assert name in block
        block = block.replace(name, ours)
    first, listed, removed = block.splitlines()
    has_it = await shell(f"{first}\n{listed}", folder=folder)
    try:
        lost_it = await shell(f"{removed}\n{listed}", folder=folder)
    finally:
        await shell(first, folder=folder)
    assert lost_it.split().count("no") == has_it.split().count("no") + 1
    assert await shell(listed, folder=folder) in has_it


async def test_a_user_of_its_own_by_the_commands_of_the_manual(tmp_path: Path) -> None:
    podman, image = await podman_with_image(tmp_path)
    # In a container there is no systemd that could keep a user's runtime folder.
    script = f"""
        sudo() {{ "$@"; }}
        loginctl() {{ echo "asked for: $*"; }}
        {block_below("user of its own, not as root")}
        id --user --name airut
        cat /etc/subuid /etc/subgid
    """
    argv = ("run", "--rm", "--network=none", image, "bash", "-euc", script)
    said = (await podman.run(*argv)).stdout.decode().split()
    assert "airut" in said
    assert said.count("airut:200000:65536") == 2
    assert "enable-linger" in said


async def _airut(site: Site, *command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "airut", *command, "-c", str(site.installation.config_file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def _until_file_of(site: Site, subject: str) -> None:
    """Until the command has done what is to be kept."""
    task = await site.task_of(subject)
    folder = site.installation.folder / "state/services/orchestrator/conversations" / task["conversation"]
    async with asyncio.timeout(30):
        while not (folder / "outbox/begun.txt").exists():
            await asyncio.sleep(0.1)


def block_below(words: str) -> str:
    """The first block of commands below these words of the manual."""
    return MANUAL.read_text().partition(words)[2].partition("```sh\n")[2].partition("```")[0]


async def shell(script: str, *, folder: Path | None = None, **environment: str) -> str:
    """Run commands as an operator would, in this folder; what they said."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = await run(
        ["bash", "-euo", "pipefail", "-c", script],
        timeout_seconds=120,
        cwd=folder,
        env={**os.environ, **environment, "PATH": programs},
    )
    return done.stdout.decode()


async def test_a_backup_is_restored_elsewhere_and_the_conversation_goes_on(
    own_site: Site, tmp_path: Path
) -> None:
    site, elsewhere = own_site, tmp_path / "elsewhere"
    first = await site.ask(
        bash("echo kept > /workspace/mine.txt; echo also > /storage/too"), ALL, subject="Keep me"
    )
    await site.installation.stop()
    backup = str(tmp_path / "backup.tar.gz")
    await shell(
        block_below("## Backup, restore, upgrade"), AIRUT=str(site.installation.folder), BACKUP=backup
    )
    (site.installation.folder / "state").rename(tmp_path / "lost")
    said = await shell(
        block_below('--directory "$AIRUT" airut.yaml state'), AIRUT=str(elsewhere), BACKUP=backup
    )
    assert "is valid" in said
    restored = DemoInstallation(elsewhere)
    assert restored.id
    async with restored.running():
        site.installation = restored
        again = await site.ask(
            bash("cat /workspace/mine.txt /storage/too"), ALL, reply_to=first, subject="Re: Keep me"
        )
    assert "kept" in text_of(again)
    assert "also" in text_of(again)
    assert site.world.model.carried_over[-1] > 0, "the agent resumed its session"
