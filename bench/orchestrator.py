"""What the orchestrator does before an agent runs: requests and their queue, copies of repositories."""

from bench import queue, workspaces
from bench.rows import Row


async def measure() -> list[Row]:
    """One after the other, so that none is measured in the shadow of another."""
    return [*await queue.measure(), *await workspaces.measure()]
