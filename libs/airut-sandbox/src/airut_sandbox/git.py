"""Git on the host: no configuration but ours, no hooks, no prompts, no helpers, and always a deadline.

It runs in mirrors and in workspaces that no sandbox has touched yet, never anywhere else (field-notes row 40).
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airut_common.processes import ProcessError, ProcessTimedOut, run
from airut_common.secrets import Secret
from airut_sandbox.git_progress import OnProgress, ProgressReader

_ERROR_BYTES = 64 * 1024

#: What an operator's environment may say to git: how to reach the network, and where programs are.
_INHERITED = ("PATH", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")

_ENVIRONMENT = {
    "HOME": "/nonexistent",  # no ~/.gitconfig, and no ~/.netrc for curl either
    "LC_ALL": "C",  # messages are classified by their English text
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
}

_CONFIG = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("core.logAllRefUpdates", "false"),
    ("credential.helper", ""),
    ("safe.bareRepository", "explicit"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("http.sslVerify", "true"),
    # A redirect could carry the token to another host: curl resends the header git was given (row 18).
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
    ("transfer.fsckObjects", "true"),
)

#: Flaws of old, honest histories. Everything else that fsck objects to refuses the fetch.
_TOLERATED = (
    "badTimezone",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingTaggerEntry",
    "zeroPaddedFilemode",
    "zeroPaddedDate",
)


class GitFailed(Exception):
    """Git said no. `stderr` is its text, bounded and without our secrets."""

    def __init__(self, stderr: str) -> None:
        super().__init__(stderr.strip().rpartition("\n")[2])
        self.stderr = stderr


class GitTimedOut(Exception):
    """The deadline passed and git was killed with all its children."""


@dataclass(frozen=True)
class Git:
    """How git is called: which transports it may use, and what it is told besides the rules of this module."""

    protocols: tuple[str, ...] = ()
    config: tuple[tuple[str, str], ...] = ()
    hidden: tuple[str, ...] = ()
    """Texts that are cut from error messages."""
    on_progress: OnProgress | None = None
    """Is told what `--progress` says. Such a git takes no standard input."""

    async def run(
        self, *args: str, timeout_seconds: float, cwd: Path | None = None, stdin: bytes | None = None
    ) -> bytes:
        """Run `git ARGS` and return its standard output.

        Raises:
            GitFailed: a non-zero exit code, or there is no git.
            GitTimedOut: it took longer than `timeout_seconds`.
        """
        try:
            completed = await run(
                ["git", *args],
                timeout_seconds=max(timeout_seconds, 0.001),
                stdin=stdin,
                env=self.environment(os.environ),
                cwd=cwd,
                check=False,
                on_stderr=None if self.on_progress is None else ProgressReader(self.on_progress).feed,
            )
        except ProcessTimedOut as error:
            raise GitTimedOut(f"git {args[0]} took longer than {timeout_seconds:.0f} seconds") from error
        except ProcessError as error:
            raise GitFailed(self._cut(str(error))) from error
        if completed.returncode != 0:
            raise GitFailed(self._cut(completed.stderr[-_ERROR_BYTES:].decode("utf-8", "replace")))
        return completed.stdout

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of the git process."""
        settings = [*_CONFIG, *((f"fetch.fsck.{name}", "ignore") for name in _TOLERATED), *self.config]
        environment = {name: inherited[name] for name in _INHERITED if name in inherited}
        environment |= _ENVIRONMENT
        environment["GIT_ALLOW_PROTOCOL"] = ":".join(self.protocols) or "none"
        environment["GIT_CONFIG_COUNT"] = str(len(settings))
        for index, (key, value) in enumerate(settings):
            environment[f"GIT_CONFIG_KEY_{index}"] = key
            environment[f"GIT_CONFIG_VALUE_{index}"] = value
        return environment

    def _cut(self, text: str) -> str:
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return text


def basic_authorization(username: str, token: Secret) -> str:
    """The value of an `Authorization` header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{token.reveal()}".encode()).decode()
