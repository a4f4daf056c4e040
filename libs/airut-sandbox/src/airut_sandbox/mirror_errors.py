"""Git's own words about a remote, turned into one line that helps the person who waits."""

import re
from typing import Literal

from airut_sandbox.errors import SandboxError

MirrorProblem = Literal[
    "unreachable", "refused", "not-a-repository", "empty", "timed-out", "unusable-tree", "broken"
]


class MirrorError(SandboxError):
    """The remote or what is in it cannot be used; `str()` is one line fit for the user's reply."""

    def __init__(self, problem: MirrorProblem, reason: str) -> None:
        super().__init__(reason)
        self.problem: MirrorProblem = problem


_URL = re.compile(r"\S+://\S+")

#: First match decides. The texts are git's and libcurl's under LC_ALL=C.
_KNOWN: tuple[tuple[str, MirrorProblem, str], ...] = (
    (r"Could not resolve (host|proxy)", "unreachable", "the host name is unknown"),
    (r"Connection refused|Failed to connect|Couldn't connect", "unreachable", "the connection was refused"),
    (
        r"Connection timed out|Timeout was reached|Operation (too slow|timed out)",
        "timed-out",
        "it does not answer",
    ),
    (r"certificate|handshake", "unreachable", "its TLS certificate could not be verified"),
    (r"redirect|returned error: 30\d", "unreachable", "it answers with a redirect; configure the final URL"),
    (r"Authentication failed|could not read (Username|Password)", "refused", "it refused our credentials"),
    (r"returned error: (401|403|407)|HTTP code 407", "refused", "it refused our credentials"),
    (
        r"returned error: 404|repository .* not found|not valid: is this a git repository|does not appear to be a git",
        "not-a-repository",
        "there is no repository at the configured URL, or the token may not see it",
    ),
    (r"returned error: (4\d\d)", "not-a-repository", "it does not serve a repository at the configured URL"),
    (
        r"returned error: (5\d\d)|early EOF|hung up|recv error|unexpected disconnect|Empty reply|RPC failed",
        "unreachable",
        "the server failed",
    ),
    (
        r"fsck|unpack-objects|index-pack|bad (tree|blob|commit)",
        "broken",
        "it sent objects that fail git's checks",
    ),
    (r"No space left on device|Disk quota exceeded", "broken", "the disk of this installation is full"),
)


def explain(where: str, stderr: str) -> MirrorError:
    """A MirrorError for git's error text about the host `where`."""
    text = _URL.sub("<url>", stderr)  # a repository named "redirect" is not one
    for pattern, problem, reason in _KNOWN:
        if re.search(pattern, text):
            return MirrorError(problem, f"{where}: {reason}")
    return MirrorError("broken", f"{where}: git failed ({_last_line(text)})")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return re.sub(r"[^\x20-\x7e]", "?", lines[-1])[:200] if lines else "without a word"
