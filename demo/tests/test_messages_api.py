"""The scripted Messages API, over real HTTPS."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from airut_demo.world.https import serve_https
from airut_demo.world.messages_api import Recall, Say, Script, ScriptedModel, ToolUse
from airut_demo.world.tls import WorldCa

KEY = "sk-ant-the-real-one"
SCRIPTS = (
    Script(
        "the first thing",
        (ToolUse("Bash", {"command": "true"}), Say(lambda results: f"it said {results[0]}")),
    ),
    Script("the second thing", (Recall(lambda _results, earlier: f"earlier: {'; '.join(earlier)}"),)),
)
PROMPT = {"role": "user", "content": "You are working for ada\n\nplease do the first thing"}
TOOLS = [{"name": "Bash", "input_schema": {"type": "object"}}]


@dataclass
class Api:
    model: ScriptedModel
    client: httpx.AsyncClient

    async def post(
        self, body: object, path: str = "/v1/messages?beta=true", key: str = KEY
    ) -> httpx.Response:
        return await self.client.post(path, json=body, headers={"x-api-key": key})

    async def say(self, *messages: object, **more: object) -> dict[str, Any]:
        answer = await self.post({"model": "m", "tools": TOOLS, "messages": messages} | more)
        assert answer.status_code == 200
        content: dict[str, Any] = answer.json()["content"][0]
        return content


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    ca = WorldCa(tmp_path)
    model = ScriptedModel(KEY, SCRIPTS)
    async with serve_https(model.application(), ca.issue("127.0.0.1")) as address:
        async with httpx.AsyncClient(
            base_url=f"https://{address}", verify=ca.client_context(), trust_env=False
        ) as client:
            yield Api(model, client)


def _used(identifier: str) -> dict[str, Any]:
    block = {"type": "tool_use", "id": identifier, "name": "Bash", "input": {"command": "true"}}
    return {"role": "assistant", "content": [block]}


def _result(identifier: str, content: object) -> dict[str, Any]:
    return {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": identifier, "content": content}],
    }


@pytest.mark.parametrize("content", ["fine", [{"type": "text", "text": "fine"}]])
async def test_a_script_goes_on_with_each_result(api: Api, content: object) -> None:
    first = await api.say(PROMPT)
    assert (first["type"], first["name"], first["input"]) == ("tool_use", "Bash", {"command": "true"})
    # The CLI adds messages of the role system after the prompt.
    second = await api.say(
        PROMPT, {"role": "system", "content": "x"}, _used(first["id"]), _result(first["id"], content)
    )
    assert second == {"type": "text", "text": "it said fine"}


async def test_a_resumed_session_remembers(api: Api) -> None:
    answered = {"role": "assistant", "content": [{"type": "text", "text": "I did it"}]}
    newest = {
        "role": "user",
        "content": [{"type": "text", "text": "You are working for ada\n\nthe second thing"}],
    }
    said = await api.say(PROMPT, _used("a"), _result("a", "fine"), answered, newest)
    assert said["text"] == "earlier: I did it"
    assert api.model.carried_over == [1]
    assert (await api.say(newest))["text"] == "earlier: "
    assert api.model.carried_over == [1, 0]


async def test_the_stream_is_a_whole_message(api: Api) -> None:
    answer = await api.post({"model": "m", "stream": True, "tools": TOOLS, "messages": [PROMPT]})
    events = [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.splitlines()
        if line.startswith("data: ")
    ]
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert names[0] == "message_start"
    assert names[-1] == "message_stop"
    delta = next(event["delta"] for event in events if event["type"] == "content_block_delta")
    assert json.loads(delta["partial_json"]) == {"command": "true"}
    assert (
        next(event["delta"] for event in events if event["type"] == "message_delta")["stop_reason"]
        == "tool_use"
    )


async def test_side_questions_get_plain_words(api: Api) -> None:
    assert (await api.say(PROMPT, tools=[]))["type"] == "text"
    assert (await api.say({"role": "user", "content": "quota"}))["type"] == "text"
    assert (await api.say({"role": "user", "content": "You are working for x\n\nsomething else"}))[
        "type"
    ] == "text"
    assert (await api.post({"messages": []}, "/v1/messages/count_tokens")).json()["input_tokens"] > 0


async def test_only_the_real_key_is_admitted(api: Api) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        refused = await api.post({"messages": [PROMPT]}, path, key="sk-ant-a-surrogate")
        assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
    assert (api.model.accepted, api.model.refused) == (0, 2)


async def test_everything_else_is_refused_as_json(api: Api) -> None:
    missing = await api.client.get("/api/hello")
    assert (missing.status_code, missing.json()["type"]) == (404, "error")
    broken = await api.client.post("/v1/messages", content=b"{", headers={"x-api-key": KEY})
    assert broken.status_code == 400
