#!/usr/bin/python3 -I
"""Stands where Claude Code is, but quick: works on every `[[number seconds]]` in its prompt, and writes down that it
did. Whoever finds another agent at work in the same conversation writes that down, too."""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

ARGV, PROMPT = sys.argv[1:], sys.stdin.read()
SESSIONS = Path(os.environ["CLAUDE_CONFIG_DIR"], "sessions")
SESSION = ARGV[ARGV.index("--resume") + 1] if "--resume" in ARGV else str(uuid.uuid4())
NETWORK_SECONDS = 90


def emit(**message: object) -> None:
    sys.stdout.write(json.dumps({"session_id": SESSION, **message}) + "\n")
    sys.stdout.flush()


def end(text: str, **more: object) -> None:
    emit(**{"type": "result", "subtype": "success", "is_error": False, "result": text, "num_turns": 1,
            "total_cost_usd": 0.01, "usage": {"input_tokens": 1, "output_tokens": 1}, **more})  # fmt: skip


def note(line: str) -> None:
    with Path("/storage/log").open("a", encoding="ascii") as log:
        log.write(line + "\n")
        log.flush()
        os.fsync(log.fileno())


def reach_the_remote() -> str:
    deadline = time.monotonic() + NETWORK_SECONDS
    while time.monotonic() < deadline:
        if (
            subprocess.run(
                ["git", "ls-remote", "origin", "HEAD"], capture_output=True, check=False, timeout=60
            ).returncode
            == 0
        ):
            return "reached"
        time.sleep(0.5)
    return "unreachable"


SESSIONS.mkdir(exist_ok=True)
memory = SESSIONS / SESSION
if "--resume" in ARGV and not memory.exists():
    end("", subtype="error_during_execution", is_error=True, num_turns=0,
        errors=[f"No conversation found with session ID: {SESSION}"])  # fmt: skip
    sys.exit(1)
emit(type="system", subtype="init", model="quick", cwd=str(Path.cwd()), claude_code_version="0")
memory.touch()
alone = Path("/storage/lock").open("a", encoding="ascii")  # noqa: SIM115 - held to the end
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("overlap")
done = []
for number, seconds, network in re.findall(r"\[\[(\d+) ([\d.]+)( network)?\]\]", PROMPT):
    note(f"begin {number}")
    emit(
        type="assistant", message={"role": "assistant", "content": [{"type": "text", "text": f"at {number}"}]}
    )
    time.sleep(float(seconds))
    done.append(f"{number} {reach_the_remote() if network else 'done'}")
    note(f"end {number}")
end("\n".join(done))
