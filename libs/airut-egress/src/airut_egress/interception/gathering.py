"""What the layers write while they work on one event leaves as one piece.

mitmproxy writes the end of a handshake and the request behind it, and a head and its body, by themselves: a system
call and a packet for each.
"""

import asyncio
from typing import Any


class GatheringWriter:
    """The part of a `StreamWriter` that mitmproxy uses."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep it until `flush`."""
        self._pieces.append(data)

    def flush(self) -> None:
        """Send what was written."""
        if not self._pieces:
            return
        pieces, self._pieces = self._pieces, []
        if not self._writer.is_closing():
            self._writer.writelines(pieces)

    async def drain(self) -> None:
        """As `StreamWriter.drain`."""
        await self._writer.drain()

    def is_closing(self) -> bool:
        """As `StreamWriter.is_closing`."""
        return self._writer.is_closing()

    def write_eof(self) -> None:
        """Send what was written, and that nothing follows."""
        self.flush()
        self._writer.write_eof()

    def close(self) -> None:
        """Send what was written, and close."""
        self.flush()
        self._writer.close()

    def abort(self) -> None:
        """Close at once. What was written and not sent is lost."""
        self._pieces.clear()
        self._writer.transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As `StreamWriter.get_extra_info`."""
        return self._writer.get_extra_info(name, default)
