"""The Messages API, scripted: it speaks the real protocol, and only the model's words are written beforehand."""

import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from airut_demo.world.gate import Gate

PROMPT_MARK = "You are working for "
"""Every prompt of Airut's begins like this; what comes after the last one is this task."""


@dataclass(frozen=True)
class ToolUse:
    """The model wants a tool run."""

    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True)
class Say:
    """The model's final words, made from what the tools answered."""

    words: Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Recall:
    """The model's final words, made from what the tools answered and from what it said earlier in the session."""

    words: Callable[[Sequence[str], Sequence[str]], str]


@dataclass(frozen=True)
class Script:
    """The steps of one task; chosen when `marker` stands in its prompt."""

    marker: str
    steps: Sequence[ToolUse | Say | Recall]


@dataclass
class ScriptedModel:
    """Answers by scripts. A key other than `key` is refused, as the real one would."""

    key: str
    scripts: Sequence[Script] = ()
    accepted: int = 0
    """Requests that carried the real key."""
    refused: int = 0
    carried_over: list[int] = field(default_factory=list)
    """For each main request, how many earlier prompts of the thread it carried: a resumed session has them."""
    gate: Gate | None = None
    """Stands in streamed steps of scripts, before their content."""

    def application(self) -> FastAPI:
        """The API as an ASGI application."""
        web = FastAPI(openapi_url=None)

        @web.post("/v1/messages")
        async def messages(request: Request) -> Response:
            if not self._admit(request):
                return _error(401, "authentication_error", "invalid x-api-key")
            try:
                body = await request.json()
            except ValueError:
                return _error(400, "invalid_request_error", "the body is not JSON")
            content = self._answer(body)
            if not body.get("stream"):
                return JSONResponse(_message(body, content))
            gate = self.gate if body.get("tools") else None
            return StreamingResponse(_stream(body, content, gate), media_type="text/event-stream")

        @web.post("/v1/messages/count_tokens")
        async def count(request: Request) -> Response:
            if not self._admit(request):
                return _error(401, "authentication_error", "invalid x-api-key")
            return JSONResponse({"input_tokens": 100})

        @web.api_route("/{path:path}", methods=["GET", "POST", "HEAD"])
        async def nothing(path: str) -> Response:
            return _error(404, "not_found_error", f"no {path} here")

        return web

    def _admit(self, request: Request) -> bool:
        admitted = hmac.compare_digest(request.headers.get("x-api-key", "").encode(), self.key.encode())
        self.accepted += admitted
        self.refused += not admitted
        return admitted

    def _answer(self, body: Mapping[str, Any]) -> ToolUse | str:
        """The next step of the script that the newest prompt asks for."""
        messages = body.get("messages") or []
        prompts = [index for index, message in enumerate(messages) if PROMPT_MARK in _user_text(message)]
        if not prompts or not body.get("tools"):
            return "ok"  # a side question of the CLI's, such as a title for the session
        prompt = _user_text(messages[prompts[-1]])
        # A prompt may tell again what was said before; the message itself comes last.
        asked = [script for script in self.scripts if script.marker in prompt]
        script = max(asked, key=lambda script: prompt.rfind(script.marker), default=None)
        if script is None:
            return "I have nothing to do."
        self.carried_over.append(len(prompts) - 1)
        results = [text for message in messages[prompts[-1] :] for text in _tool_results(message)]
        step = script.steps[min(len(results), len(script.steps) - 1)]
        match step:
            case Say():
                return step.words(results)
            case Recall():
                return step.words(results, _earlier_words(messages[: prompts[-1]]))
            case ToolUse():
                return step


def _user_text(message: Mapping[str, Any]) -> str:
    if message.get("role") != "user":
        return ""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text", "") for block in content or () if block.get("type") == "text")


def _earlier_words(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    said = (message.get("content") for message in messages if message.get("role") == "assistant")
    blocks = (block for content in said if isinstance(content, list) for block in content)
    return [block.get("text", "") for block in blocks if block.get("type") == "text"]


def _tool_results(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content")
    if message.get("role") != "user" or not isinstance(content, list):
        return []
    found = []
    for block in content:
        if block.get("type") == "tool_result":
            inner = block.get("content", "")
            parts = inner if isinstance(inner, list) else [{"text": inner}]
            found.append("\n".join(str(part.get("text", "")) for part in parts))
    return found


def _block(content: ToolUse | str, number: int) -> dict[str, Any]:
    if isinstance(content, str):
        return {"type": "text", "text": content}
    return {
        "type": "tool_use",
        "id": f"toolu_{number:024d}",
        "name": content.name,
        "input": dict(content.input),
    }


def _message(body: Mapping[str, Any], content: ToolUse | str) -> dict[str, Any]:
    number = len(body.get("messages") or [])
    return {
        "id": f"msg_{number:024d}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "scripted"),
        "content": [_block(content, number)],
        "stop_reason": "end_turn" if isinstance(content, str) else "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1200, "output_tokens": 80},
    }


async def _stream(body: Mapping[str, Any], content: ToolUse | str, gate: Gate | None) -> AsyncIterator[str]:
    """The message as server-sent events, from `message_start` to `message_stop`."""
    message = _message(body, content)
    block = message["content"][0]
    yield _event("message_start", {"message": message | {"content": [], "stop_reason": None}})
    if block["type"] == "text":
        empty, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        empty = block | {"input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    yield _event("content_block_start", {"index": 0, "content_block": empty})
    if gate is not None:
        await gate.passed()
    yield _event("content_block_delta", {"index": 0, "delta": delta})
    yield _event("content_block_stop", {"index": 0})
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", {"delta": stop, "usage": {"output_tokens": 80}})
    yield _event("message_stop", {})


def _event(name: str, data: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps({'type': name} | dict(data))}\n\n"


def _error(status: int, kind: str, text: str) -> JSONResponse:
    return JSONResponse({"type": "error", "error": {"type": kind, "message": text}}, status_code=status)
