"""Can this host run sandboxes? Each finding comes with its remedy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""


async def check_host(state_dir: Path, *, runtime: str | None) -> list[Finding]:
    """Everything a sandbox needs of this host. Probe files go to `state_dir`."""
    raise NotImplementedError
