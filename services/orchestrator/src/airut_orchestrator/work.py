"""A task of this process, as those who run it and those who stop it see it."""

import asyncio
from dataclasses import dataclass


@dataclass
class Work:
    """From its begin to its result."""

    conversation: str
    task: asyncio.Task[None] | None = None
    agent_is_done: bool = False
    """What follows is short, and is not interrupted any more."""
    stopped_by: str | None = None

    def agent_ended(self) -> None:
        """The agent is done."""
        self.agent_is_done = True

    @property
    def can_be_stopped(self) -> bool:
        """Whether it is neither done nor stopped already."""
        return not self.agent_is_done and self.stopped_by is None and self.task is not None

    def stop(self, by: str) -> bool:
        """Interrupt it for a person; False when it is done or stopped already."""
        if self.task is None or not self.can_be_stopped:
            return False
        self.stopped_by = by
        self.task.cancel()
        return True
