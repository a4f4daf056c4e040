#!/usr/bin/python3 -I
"""Stands where Claude Code is: speaks its stream, keeps sessions as it does, and does what the mail says.

What follows the last `---` in the prompt is a program; it finds `say`, `result`, `raw`, `system` and `sleep` ready to use.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

ARGV, PROMPT = sys.argv[1:], sys.stdin.read()
sleep = time.sleep
SESSIONS = Path(os.environ["CLAUDE_CONFIG_DIR"], "projects", str(Path.cwd()).replace("/", "-"))


def raw(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def emit(**message):
    raw(json.dumps({"session_id": SESSION, **message}))


def say(text):
    emit(type="assistant", message={"role": "assistant", "content": [{"type": "text", "text": text}]})


def result(text, **more):
    usage = {"input_tokens": 10, "output_tokens": 5}
    emit(**{"type": "result", "subtype": "success", "is_error": False, "result": text, "num_turns": 2,
            "duration_ms": 10, "total_cost_usd": 0.5, "usage": usage, **more})  # fmt: skip


def system(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=False).stdout.strip()


SESSION = ARGV[ARGV.index("--resume") + 1] if "--resume" in ARGV else str(uuid.uuid4())
SESSIONS.mkdir(parents=True, exist_ok=True)
memory = SESSIONS / f"{SESSION}.jsonl"
if "--resume" in ARGV and not memory.exists():
    error = f"No conversation found with session ID: {SESSION}"
    result("", subtype="error_during_execution", is_error=True, num_turns=0, errors=[error])
    sys.exit(1)
emit(type="system", subtype="init", model="fake", cwd=str(Path.cwd()), claude_code_version="0")
earlier = memory.read_text() if memory.exists() else ""
memory.write_text(earlier + PROMPT)
exec(PROMPT.rpartition("\n---\n")[2])
