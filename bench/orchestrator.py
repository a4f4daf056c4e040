"""The orchestrator: requests and their queue, copies of repositories, many sandboxes at once."""

from bench import crowd, queue, workspaces
from bench.rows import Row


async def measure() -> list[Row]:
    """One after the other, so that none is measured in the shadow of another."""
    return [*await queue.measure(), *await workspaces.measure(), *await crowd.measure()]
