"""The agent's output as it comes: one event for each thing said, and what the reply will need. Bounded."""

import json
from collections.abc import Callable
from typing import Any, Literal

from airut_common.contracts.v1 import AgentOutput, Usage, utc_now
from airut_orchestrator.agents import Agent, OutputType, Said

EVENT_TEXT_BYTES = 32 * 1024
ANSWER_BYTES = 200 * 1024
MAX_EVENTS = 5_000
MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Of one task, together: the stream of events has an end too, and drops the oldest tasks first."""
LEFT_OUT = "(The agent said more than is kept; what follows is left out here, but not its result.)"

Emit = Callable[[AgentOutput], None]


class Transcript:
    """Reads an agent's lines."""

    def __init__(
        self,
        agent: Agent,
        emit: Emit,
        *,
        repo: str,
        task: str,
        conversation: str,
        said: Callable[[Said], None],
    ) -> None:
        """`said` is told each thing as well, whatever is left out of the events."""
        self._agent = agent
        self._emit = emit
        self._said = said
        self._ids = {"repo": repo, "task": task, "conversation": conversation}
        self._seq = 0
        self._bytes = 0
        self._full = False
        self._last_text = ""
        self.session: str | None = None
        self.session_lost = False
        self.result: str | None = None
        self.failed = False
        self.usage: Usage | None = None
        self.understood = 0
        """Lines that were the agent's own format."""
        self.not_understood = 0

    @property
    def answer(self) -> str:
        """The final answer, or the last thing said when there is none. Cut to `ANSWER_BYTES`."""
        text, cut = _cut(self.result or self._last_text, ANSWER_BYTES)
        return text + "\n\n(The answer was longer and has been cut here.)" if cut else text

    def prompt(self, text: str) -> None:
        """A message that the agent was given; these are the first events."""
        self._publish("prompt", Said("text", text))

    def take(self, line: bytes) -> None:
        """Read one line."""
        found = self._agent.read_line(line)
        for said in found.said:
            if said.type == "unknown":
                self.not_understood += 1
            else:
                self.understood += 1
            if said.type == "text" and said.text.strip():
                self._last_text = said.text
            self._publish(said.type, said)
            self._said(said)
        self.session = found.session or self.session
        self.session_lost = self.session_lost or found.session_lost
        if found.result is not None:
            self.result, self.failed, self.usage = found.result, found.failed, found.usage

    def _publish(self, kind: OutputType | Literal["prompt"], said: Said) -> None:
        if kind != "result" and (self._seq >= MAX_EVENTS or self._bytes >= MAX_EVENT_BYTES):
            if self._full:
                return
            self._full, kind, said = True, "system", Said("system", LEFT_OUT)
        text, text_cut = _cut(said.text, EVENT_TEXT_BYTES)
        arguments, arguments_cut = _cut_input(said)
        event = AgentOutput(
            **self._ids,
            at=utc_now(),
            seq=self._seq,
            type=kind,
            text=text,
            tool=said.tool[:200] if said.tool else None,
            tool_use_id=said.tool_use_id[:200] if said.tool_use_id else None,
            input=arguments,
            is_error=said.is_error,
            truncated=text_cut or arguments_cut,
        )
        self._seq += 1
        self._bytes += len(event.encode())
        self._emit(event)


def _cut(text: str, most: int) -> tuple[str, bool]:
    raw = text.encode("utf-8", "replace")
    if len(raw) <= most:
        return raw.decode(), False
    return raw[:most].decode("utf-8", "ignore"), True


def _cut_input(said: Said) -> tuple[dict[str, Any] | None, bool]:
    if said.input is None:
        return None, False
    # A lone surrogate is legal in JSON and illegal in what we publish.
    whole = json.dumps(said.input, ensure_ascii=False).encode("utf-8", "replace").decode()
    text, cut = _cut(whole, EVENT_TEXT_BYTES)
    parsed: dict[str, Any] = {"cut": text} if cut else json.loads(text)
    return parsed, cut
