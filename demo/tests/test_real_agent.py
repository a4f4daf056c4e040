"""The real Claude Code, run on this host against the scripted API: what it sends is what the scripts rely on."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from airut_common.processes import run
from airut_demo.world.https import serve_https
from airut_demo.world.messages_api import Recall, Say, Script, ScriptedModel, ToolUse
from airut_demo.world.tls import WorldCa
from airut_sandbox.agent_binary import ensure_agent

VERSION = "2.1.330"
KEY = "sk-ant-the-real-one"
SCRIPTS = (
    Script(
        "read the note",
        (
            ToolUse("Bash", {"command": "cat note.txt", "description": "Read"}),
            ToolUse("Bash", {"command": "exit 3", "description": "Fail"}),
            Say(lambda results: f"The note says {results[0].strip()}; then {len(results) - 1} more."),
        ),
    ),
    Script("what was it", (Recall(lambda _results, earlier: f"I said: {earlier[-1]}"),)),
)


def _agents() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airut" / "agents"


async def _ask(
    agent: Path, prompt: str, *more: str, folder: Path, env: dict[str, str]
) -> list[dict[str, Any]]:
    argv = [
        str(agent),
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        "--dangerously-skip-permissions",
        *more,
    ]
    done = await run(argv, timeout_seconds=90, stdin=prompt.encode(), env=env, cwd=folder, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.stderr, lines[-1:])
    return lines


@pytest.mark.integration
@pytest.mark.timeout(1200)  # the agent may have to be fetched first
async def test_the_agent_follows_a_script_and_its_resumed_session_remembers(tmp_path: Path) -> None:
    agent = await ensure_agent(_agents(), VERSION)
    ca = await asyncio.to_thread(WorldCa, tmp_path)
    model = ScriptedModel(KEY, SCRIPTS)
    (folder := tmp_path / "work").mkdir()
    (folder / "note.txt").write_text("forty-two\n")
    async with serve_https(model.application(), ca.issue("127.0.0.1")) as address:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "CLAUDE_CONFIG_DIR": str(tmp_path / "agent"),
            "ANTHROPIC_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": f"https://{address}",
            "NODE_EXTRA_CA_CERTS": str(ca.file),
            "SSL_CERT_FILE": str(ca.file),
            "IS_SANDBOX": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        first = await _ask(agent, "You are working for ada\n\nread the note", folder=folder, env=env)
        assert first[-1]["result"] == "The note says forty-two; then 1 more."
        session = first[-1]["session_id"]
        prompt = "You are working for ada\n\nwhat was it?"
        second = await _ask(agent, prompt, "--resume", session, folder=folder, env=env)
        assert second[-1]["result"] == "I said: The note says forty-two; then 1 more."
        assert second[-1]["session_id"] == session
    assert model.carried_over[-1] == 1
    assert model.refused == 0
