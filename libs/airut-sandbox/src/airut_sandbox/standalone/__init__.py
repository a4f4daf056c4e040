"""A sandbox without an installation: one command, its network, its events. For CI and for trying a policy."""

from .events import EventLog
from .run import Asked, run_command
from .settings import MissingSecrets, SandboxFile, read_settings

__all__ = ["Asked", "EventLog", "MissingSecrets", "SandboxFile", "read_settings", "run_command"]
