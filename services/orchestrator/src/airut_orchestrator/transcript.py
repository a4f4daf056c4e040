"""The agent's output as it comes: one event for each thing said, and what the reply will need. Bounded."""

import json
from collections.abc import Callable
from typing import Any

from airut_common.contracts.v1 import AgentOutput, Usage, utc_now
from airut_orchestrator.agents import Agent, Said

EVENT_TEXT_BYTES = 32 * 1024
ANSWER_CHARACTERS = 200_000
MAX_EVENTS = 5_000
"""Of one task; a flood beyond it is counted, not published."""

Emit = Callable[[AgentOutput], None]


class Transcript:
    """Reads an agent's lines."""

    def __init__(self, agent: Agent, emit: Emit, *, repo: str, task: str, conversation: str) -> None:
        self._agent = agent
        self._emit = emit
        self._ids = {"repo": repo, "task": task, "conversation": conversation}
        self._seq = 0
        self._last_text = ""
        self.session: str | None = None
        self.result: str | None = None
        self.failed = False
        self.usage: Usage | None = None
        self.understood = 0
        """Lines that were the agent's own format."""
        self.not_understood = 0

    @property
    def answer(self) -> str:
        """The final answer, or the last thing said when there is none. Cut to `ANSWER_CHARACTERS`."""
        text = (self.result or self._last_text).encode("utf-8", "replace").decode()
        if len(text) <= ANSWER_CHARACTERS:
            return text
        return text[:ANSWER_CHARACTERS] + "\n\n(The answer was longer and has been cut here.)"

    def prompt(self, text: str) -> None:
        """The message that the agent was given is the first event."""
        self._publish("prompt", Said("text", text))

    def take(self, line: bytes) -> None:
        """Read one line."""
        found = self._agent.read_line(line)
        for said in found.said:
            if said.type == "unknown":
                self.not_understood += 1
            else:
                self.understood += 1
            if said.type == "text":
                self._last_text = said.text
            self._publish(said.type, said)
        self.session = found.session or self.session
        if found.result is not None:
            self.result, self.failed, self.usage = found.result, found.failed, found.usage

    def _publish(self, kind: Any, said: Said) -> None:
        if self._seq >= MAX_EVENTS:
            return
        text, cut = _cut(said.text)
        arguments, arguments_cut = _cut_input(said)
        self._emit(
            AgentOutput(
                **self._ids,
                at=utc_now(),
                seq=self._seq,
                type=kind,
                text=text,
                tool=said.tool[:200] if said.tool else None,
                tool_use_id=said.tool_use_id[:200] if said.tool_use_id else None,
                input=arguments,
                is_error=said.is_error,
                truncated=cut or arguments_cut,
            )
        )
        self._seq += 1


def _cut(text: str) -> tuple[str, bool]:
    raw = text.encode("utf-8", "replace")
    if len(raw) <= EVENT_TEXT_BYTES:
        return raw.decode(), False
    return raw[:EVENT_TEXT_BYTES].decode("utf-8", "ignore"), True


def _cut_input(said: Said) -> tuple[dict[str, Any] | None, bool]:
    if said.input is None:
        return None, False
    # A lone surrogate is legal in JSON and illegal in what we publish.
    whole = json.dumps(said.input, ensure_ascii=False).encode("utf-8", "replace").decode()
    if len(whole) <= EVENT_TEXT_BYTES:
        parsed: dict[str, Any] = json.loads(whole)
        return parsed, False
    return {"cut": whole[:EVENT_TEXT_BYTES]}, True
