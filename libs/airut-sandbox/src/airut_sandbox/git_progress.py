"""What git's `--progress` says, as one line for people. The remote's part of it is the remote's words: never shown."""

import re
from collections.abc import Callable
from typing import Final

OnProgress = Callable[[str], None]
"""Takes lines such as `receiving objects: 45 % (97.20 MiB)`, as often as git says something."""

_MAX_LINE: Final = 200
_LINE: Final = re.compile(
    rb"(Receiving objects|Resolving deltas|Checking objects|Updating files): +(\d{1,3})% "
    rb"\(\d+/\d+\)(?:, (\d{1,12}(?:\.\d\d)? (?:bytes|[KMGT]iB)))?"
)
_END: Final = re.compile(rb"[\r\n]")


class ProgressReader:
    """Feed it git's standard error."""

    def __init__(self, tell: OnProgress) -> None:
        self._tell = tell
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Take a piece, and tell the last whole line of progress in it."""
        *lines, rest = _END.split(self._rest + chunk)
        self._rest = rest[:_MAX_LINE]
        for line in reversed(lines):
            if (found := _LINE.match(line)) is not None:
                what, percent, size = (part.decode("ascii") if part else "" for part in found.groups())
                self._tell(f"{what.lower()}: {percent} %" + (f" ({size})" if size else ""))
                return
