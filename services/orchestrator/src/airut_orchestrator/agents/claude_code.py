"""Claude Code: its command line, and its `stream-json` output as events.

The format belongs to the CLI and changes with it, so reading is tolerant: an unknown line or block is kept, never
fatal. Everything here was written by a hostile program as far as we know.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from airut_common.contracts.v1 import Usage
from airut_orchestrator.agents import Launch, Line, Said
from airut_orchestrator.agents.claude_progress import ClaudeProgress

PROGRAM: Final = "/opt/airut/agent/claude"
CONFIG_FOLDER: Final = "/agent"
_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Names of models, aliases such as `opus[1m]`, and other providers' ids (`us.anthropic.claude-x-v1:0`, ARNs). They come
#: from whoever wrote the mail, and must never look like an option.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,199}")
_SESSION_LOST: Final = "No conversation found with session ID"
_UNKNOWN_BYTES: Final = 4096


class ClaudeCode:
    """The only agent that ships."""

    def launch(self, *, resume: str | None, model: str | None, effort: str | None) -> Launch:
        """See `Agent.launch`."""
        if model is not None and not _MODEL.fullmatch(model):
            raise ValueError(f"no model can be called {model!r}")
        argv = [
            PROGRAM,
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--dangerously-skip-permissions",
        ]
        if resume is not None:
            argv += ["--resume", resume]
        if model is not None:
            argv += ["--model", model]
        if effort is not None:
            argv += ["--effort", effort]
        environment = {
            "CLAUDE_CONFIG_DIR": CONFIG_FOLDER,
            # Lets it run without permission prompts as root, which it otherwise refuses.
            "IS_SANDBOX": "1",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        return Launch(tuple(argv), environment)

    def session_file(self, session: str) -> str:
        """See `Agent.session_file`. The folder is named after the working directory."""
        return f"projects/-workspace/{session}.jsonl"

    def progress(self) -> ClaudeProgress:
        """See `Agent.progress`."""
        return ClaudeProgress()

    def read_line(self, line: bytes) -> Line:
        """See `Agent.read_line`."""
        if not line.strip():
            return Line()
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return _unknown(line)
        if not isinstance(message, dict):
            return _unknown(line)
        match message.get("type"):
            case "system":
                return _system(message, line)
            case "assistant" | "user":
                return Line(said=tuple(_blocks(message)), session=_session(message))
            case "result":
                return _result(message)
        return _unknown(line)


def _unknown(line: bytes) -> Line:
    return Line(said=(Said("unknown", line[:_UNKNOWN_BYTES].decode("utf-8", "replace")),))


def _system(message: Mapping[str, Any], line: bytes) -> Line:
    if message.get("subtype") != "init":
        return _unknown(line)
    model, version = _text(message.get("model")), _text(message.get("claude_code_version"))
    about = ", ".join(part for part in (model, version and f"Claude Code {version}") if part)
    return Line(said=(Said("system", f"started {about}".strip()),), session=_session(message))


def _session(message: Mapping[str, Any]) -> str | None:
    found = message.get("session_id")
    # It becomes an argument of the next start: anything but the known form is not taken up.
    return found if isinstance(found, str) and _SESSION.fullmatch(found) else None


def _blocks(message: Mapping[str, Any]) -> Iterable[Said]:
    body = message.get("message")
    content = body.get("content") if isinstance(body, dict) else None
    if isinstance(content, str):
        yield Said("text" if message["type"] == "assistant" else "tool_result", content)
        return
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            found = _block(block)
            yield replace(found, nested=True) if message.get("parent_tool_use_id") else found


def _block(block: Mapping[str, Any]) -> Said:
    match block.get("type"):
        case "text":
            return Said("text", _text(block.get("text")))
        case "thinking":
            return Said("thinking", _text(block.get("thinking")))
        case "tool_use":
            arguments = block.get("input")
            return Said(
                "tool_use",
                tool=_text(block.get("name")) or None,
                tool_use_id=_text(block.get("id")) or None,
                input=arguments if isinstance(arguments, dict) else {},
            )
        case "tool_result":
            return Said(
                "tool_result",
                _content_text(block.get("content")),
                tool_use_id=_text(block.get("tool_use_id")) or None,
                is_error=block.get("is_error") is True,
            )
    return Said("unknown", json.dumps(block, ensure_ascii=False)[:_UNKNOWN_BYTES])


def _content_text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(
        _text(part.get("text")) or f"[{part.get('type')}]" for part in parts if isinstance(part, dict)
    )


def _result(message: Mapping[str, Any]) -> Line:
    failed = message.get("is_error") is True or message.get("subtype") not in (None, "success")
    errors = _texts(message.get("errors"))
    text = _text(message.get("result")) or ("; ".join(errors) if failed else "")
    return Line(
        said=(Said("result", text, is_error=failed),),
        session=_session(message),
        result=text,
        session_lost=failed and any(error.startswith(_SESSION_LOST) for error in errors),
        failed=failed,
        usage=_usage(message),
    )


def _usage(message: Mapping[str, Any]) -> Usage:
    tokens = message.get("usage")
    tokens = tokens if isinstance(tokens, dict) else {}
    read = [
        _number(tokens.get(name))
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    ]
    written = _number(tokens.get("output_tokens"))
    turns = _number(message.get("num_turns"))
    return Usage(
        duration_seconds=(_number(message.get("duration_ms")) or 0.0) / 1000,
        turns=None if turns is None else int(turns),
        input_tokens=int(sum(value or 0 for value in read))
        if any(value is not None for value in read)
        else None,
        output_tokens=None if written is None else int(written),
        cost_usd=_number(message.get("total_cost_usd")),
    )


def _number(value: object) -> float | None:
    """A finite number that is not absurd; the agent writes these."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e12 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
