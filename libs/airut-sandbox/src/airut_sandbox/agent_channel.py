"""Which version of the agent to run: the one that was named, or the one that a channel of the registry names now.

A registry that cannot be asked must not stop work: then the version that the channel named last is taken, and who waits
is told.
"""

import asyncio
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from airut_common.config.models import AGENT_CHANNEL_PATTERN
from airut_sandbox.agent_binary import (
    PACKAGE,
    AgentUnavailable,
    ensure_agent,
    is_version,
    published_version,
)
from airut_sandbox.old_agents import note_use, old_agents, remove_agent

ASK_AGAIN_SECONDS: Final = 600.0
"""A channel is asked for so seldom: its answer changes a few times a week."""
_ASK_SECONDS: Final = 20.0
_AFTER_A_FAILURE_SECONDS: Final = 60.0
_CHANNEL: Final = re.compile(AGENT_CHANNEL_PATTERN)
_CHANNELS: Final = "channels"

_log = structlog.get_logger()


@dataclass(frozen=True)
class AgentProgram:
    """A program that is here. `note` is for the person who waits: why it is not the one that was meant."""

    path: Path
    version: str
    note: str | None = None


@dataclass(frozen=True)
class _Known:
    version: str
    until: float
    trouble: str | None = None


class Agents:
    """Programs below one folder. Any number of processes may share it."""

    def __init__(self, cache_dir: Path, *, registry: str | None = None, ca_file: Path | None = None) -> None:
        self._cache_dir = cache_dir
        self._registry = registry
        self._ca_file = ca_file
        self._known: dict[str, _Known] = {}

    async def ensure(self, wanted: str) -> AgentProgram:
        """The program of a version (`2.1.330`), or of a channel (`latest`, `stable`: a dist-tag of the registry).

        Raises:
            AgentUnavailable: it is neither, or cannot be had and nothing is here that could stand in.
        """
        if is_version(wanted):
            return AgentProgram(await self._fetch(wanted), wanted)
        if not _CHANNEL.fullmatch(wanted):
            raise AgentUnavailable(
                f"{wanted!r} is neither a version of the agent nor a channel such as latest"
            )
        known = self._known.get(wanted)
        if known is None or known.until < time.monotonic():
            known = self._known[wanted] = await self._ask(wanted)
        try:
            return AgentProgram(await self._fetch(known.version), known.version, _note(wanted, known))
        except AgentUnavailable as error:
            stand_in = self._stand_in(wanted, error)
            self._known[wanted] = stand_in
            return AgentProgram(
                await self._fetch(stand_in.version), stand_in.version, _note(wanted, stand_in)
            )

    async def _ask(self, channel: str) -> _Known:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                version = await published_version(
                    channel, registry=self._registry, ca_file=self._ca_file, package=PACKAGE
                )
            await self._fetch(version)
        except (AgentUnavailable, TimeoutError) as error:
            return self._stand_in(channel, error)
        await asyncio.to_thread(self._remember, channel, version)
        return _Known(version, time.monotonic() + ASK_AGAIN_SECONDS)

    def _stand_in(self, channel: str, error: Exception) -> _Known:
        """What is here instead; the error itself if nothing is."""
        reason = str(error) or f"the registry did not answer within {_ASK_SECONDS:g} s"
        remembered = self._remembered(channel)
        here = self._here()
        if remembered in here:
            version = remembered
        elif channel == "latest" and here:
            version = here[-1]
        else:
            raise AgentUnavailable(f"the channel {channel} of the agent: {reason}") from error
        _log.warning("agent_channel_unavailable", channel=channel, version=version, reason=reason)
        return _Known(version, time.monotonic() + _AFTER_A_FAILURE_SECONDS, reason)

    async def _fetch(self, version: str) -> Path:
        program = await ensure_agent(self._cache_dir, version, registry=self._registry, ca_file=self._ca_file)
        note_use(program)
        return program

    def old(self, *, before: datetime, wanted: Collection[str]) -> list[str]:
        """Versions that nobody has used since a moment, but for those that are `wanted` and what channels named last.

        Raises:
            OSError: the cache cannot be read.
        """
        return old_agents(
            self._cache_dir, before=before, wanted={*wanted, *map(self._remembered, self._channels())}
        )

    def remove(self, version: str) -> None:
        """Remove a version.

        Raises:
            OSError: it is not gone.
        """
        remove_agent(self._cache_dir, version)

    def _channels(self) -> list[str]:
        return [file.name for file in (self._cache_dir / _CHANNELS).glob("[a-z]*")]

    def _remember(self, channel: str, version: str) -> None:
        file = self._cache_dir / _CHANNELS / channel
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{channel}.new")
        draft.write_text(version + "\n", "ascii")
        draft.replace(file)

    def _remembered(self, channel: str) -> str:
        try:
            return (self._cache_dir / _CHANNELS / channel).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def _here(self) -> list[str]:
        """Versions that were fetched, oldest first; those for tests of what is to come are not taken for the latest."""
        found = {path.parts[-3] for path in self._cache_dir.glob("*/*/claude")}
        return sorted(
            (version for version in found if is_version(version) and "-" not in version),
            key=lambda version: [int(part) for part in version.split(".")],
        )


def _note(channel: str, known: _Known) -> str | None:
    if known.trouble is None:
        return None
    return (
        f"The channel `{channel}` of the agent could not be asked ({known.trouble}); "
        f"version {known.version}, which was here, was used."
    )
