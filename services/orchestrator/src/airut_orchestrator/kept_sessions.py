"""The agent's own memory of a conversation, kept in a database that hosts share: whoever goes on after the loss of the
host gives it back to the agent.

The file was written inside of the sandbox and goes back into one. Here it is bytes that nobody reads.
"""

import asyncio
import zlib
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from airut_orchestrator.agents import Agent
from airut_orchestrator.database.store import Store
from airut_orchestrator.folders import ConversationFolders
from airut_sandbox.beneath import NotPlain, handle_beneath, open_folder, read_plain

MAX_BYTES: Final = 64 * 1024 * 1024
"""A longer memory is not kept."""

log = structlog.get_logger()


class KeptSessions:
    """Keeps sessions where several hosts may work on a conversation; elsewhere the folder is all there is."""

    def __init__(self, store: Store, agent: Agent) -> None:
        self._store = store
        self._agent = agent

    async def keep(self, conversation: str, session: str, folders: ConversationFolders) -> None:
        """Keep a session as the agent left it, in place of an earlier one. Raises nothing: what cannot be kept is
        logged, and is missed only when the host is lost."""
        if not self._store.database.is_shared:
            return
        try:
            data = await asyncio.to_thread(_packed, folders, self._agent.session_file(session))
            await self._store.keep_session(conversation, session, data)
        except (NotPlain, OSError, SQLAlchemyError) as error:
            log.warning("agent_session_not_kept", conversation=conversation, reason=str(error))

    async def bring_back(self, conversation: str, session: str, folders: ConversationFolders) -> bool:
        """Put a kept session into the agent's folder, which no sandbox has seen yet; False when it was not kept, or not
        that one.

        Raises:
            SQLAlchemyError: the database did not answer.
        """
        data = await self._store.kept_session(conversation, session)
        if data is None:
            return False
        await asyncio.to_thread(_unpack, folders, self._agent.session_file(session), data)
        return True


def _packed(folders: ConversationFolders, path: str) -> bytes:
    with open_folder(folders.agent) as root, handle_beneath(root, path) as handle:
        return zlib.compress(read_plain(handle, max_bytes=MAX_BYTES))


def _unpack(folders: ConversationFolders, path: str, data: bytes) -> None:
    file = folders.agent / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(zlib.decompress(data))
