"""What a service needs before it can reach the bus, from its environment. Everything else is configuration."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

_TOKEN = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
DEFAULT_HOST: Final = "local"
"""What a host is called on the bus of an installation that has one."""
LogFormat = Literal["text", "json"]


class SettingsError(Exception):
    """One line for each bad or missing variable."""


def this_host(env: Mapping[str, str] = os.environ) -> str:
    """This host's name on the bus: `AIRUT_HOST`, unless there is only one."""
    return env.get("AIRUT_HOST") or DEFAULT_HOST


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of one service process."""

    nats_url: str
    nkey_seed_file: Path | None
    state_dir: Path
    """Belongs to this service alone; 0700."""
    installation: str
    """Labels what this installation owns on the host."""
    host: str
    """This host's name on the bus."""
    log_format: LogFormat
    log_level: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read `AIRUT_*`.

        Raises:
            SettingsError: naming every bad value at once.
        """
        problems: list[str] = []

        def required(name: str, what: str) -> str:
            value = env.get(name, "")
            if not value:
                problems.append(f"{name} is not set; it must be {what}")
            return value

        def token(name: str, value: str) -> str:
            if value and not _TOKEN.fullmatch(value):
                problems.append(
                    f"{name}: {value!r} must be lower-case letters, digits and dashes, at most 40"
                )
            return value

        def one_of(name: str, default: str, allowed: tuple[str, ...]) -> str:
            value = env.get(name, default)
            if value not in allowed:
                problems.append(f"{name}: {value!r} must be one of {', '.join(allowed)}")
            return value

        nats_url = required("AIRUT_NATS_URL", "the URL of the bus, such as nats://127.0.0.1:4222")
        state_dir = required("AIRUT_STATE_DIR", "a folder that belongs to this service alone")
        installation = token(
            "AIRUT_INSTALLATION", required("AIRUT_INSTALLATION", "the id of the installation")
        )
        host = token("AIRUT_HOST", this_host(env))
        log_format = one_of("AIRUT_LOG_FORMAT", "text", ("text", "json"))
        log_level = one_of("AIRUT_LOG_LEVEL", "info", ("debug", "info", "warning", "error"))
        seed = env.get("AIRUT_NKEY_SEED_FILE")
        if seed and not Path(seed).is_file():
            problems.append(f"AIRUT_NKEY_SEED_FILE: {seed} is not a file")
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(
            nats_url=nats_url,
            nkey_seed_file=Path(seed) if seed else None,
            state_dir=Path(state_dir),
            installation=installation,
            host=host,
            log_format="json" if log_format == "json" else "text",
            log_level=log_level,
        )
