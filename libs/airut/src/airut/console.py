"""One readable log of many processes: a coloured name, then the line, control characters made visible."""

import re
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan")
# Everything that could steer a terminal, except the tab (row 37 of the field notes: log injection).
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """`text` with every control or direction-changing character written as an escape."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


class LogView:
    """Writes `name │ line` to standard error, each name in its own colour."""

    def __init__(self, names: list[str], console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._width = max((len(name) for name in names), default=0)
        self._colours: Mapping[str, str] = {
            name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)
        }

    def write(self, name: str, line: str) -> None:
        """Show one line."""
        prefix = Text(f"{name:<{self._width}} │ ", style=self._colours.get(name, ""))
        self._console.print(prefix + Text(visible(line)))
