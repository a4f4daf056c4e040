"""What a person reads while the demo runs: each step with its time, mails as received, the network as a table."""

import time
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from airut.console import visible

_MARGIN = 9
_WIDTH = 120
"""For files and pipes; a terminal knows its own."""
_WORTH_TELLING_MS = 10


class Transcript:
    """Writes to standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, width=None if Console().is_terminal else _WIDTH)
        self._began = time.monotonic()

    def title(self, text: str) -> None:
        """A new part of the story."""
        self._console.print()
        self._console.rule(Text(text, style="bold"), align="left")

    def step(self, text: str) -> None:
        """Something happened just now."""
        self._row(Text(f"{time.monotonic() - self._began:7.1f} s", style="dim"), Text(visible(text)))

    def check(self, text: str, *, good: bool) -> None:
        """Something was to be so; it is, or it is not."""
        mark = Text("✓", style="green") if good else Text("✗", style="bold red")
        self._row(mark, Text(visible(text)))

    def remark(self, text: str) -> None:
        """Something aside."""
        self._row(Text(), Text(visible(text), style="dim"))

    def _row(self, margin: Text, text: Text) -> None:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(justify="right", width=_MARGIN)
        grid.add_column(overflow="fold")
        grid.add_row(margin, text)
        self._console.print(grid)

    def mail(self, message: EmailMessage) -> None:
        """A mail as it was received."""
        headers = Text()
        for name in ("From", "To", "Subject", "In-Reply-To", "Auto-Submitted"):
            if message[name]:
                headers.append(f"{name}: ", style="dim").append(
                    visible(" ".join(str(message[name]).split())) + "\n"
                )
        body = message.get_body(preferencelist=("plain",))
        text = "\n".join(visible(line) for line in (body.get_content() if body else "").strip().splitlines())
        files = ", ".join(visible(part.get_filename() or "?") for part in message.iter_attachments())
        attached = Text(f"\n\nattached: {files}", style="cyan") if files else Text()
        self._console.print(
            Panel(Group(headers, Text(text) + attached), border_style="green", padding=(0, 2))
        )

    def usage(self, task: Mapping[str, Any]) -> None:
        """What a task took."""
        stages = {
            name.replace("_", " "): milliseconds / 1000
            for name, milliseconds in task["timings_ms"].items()
            if milliseconds >= _WORTH_TELLING_MS and not name.startswith("accept_")
        }
        if stages:
            self.remark(
                "before it ran: " + ", ".join(f"{name} {took:.2f} s" for name, took in stages.items())
            )
        used = task["usage"] or {}
        if used.get("turns") and used.get("cost_usd") is not None:
            self.remark(f"the agent counts {used['turns']} turns and ${used['cost_usd']:.2f}")

    def network(self, events: Sequence[Mapping[str, Any]]) -> None:
        """The network log of a task."""
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
        table.add_column("decision")
        table.add_column("status")
        table.add_column("what", overflow="fold", min_width=50)
        table.add_column("credential put in", overflow="fold")
        table.add_column("why", overflow="fold")
        for event in events:
            if event["kind"] in {"request", "connection"}:
                style = "green" if event["decision"] == "allow" else "bold red"
                table.add_row(
                    Text(event["decision"], style=style),
                    str(event["status"] or ""),
                    Text(visible(_what(event))),
                    Text(", ".join(event["credentials"])),
                    Text(visible(event["reason"]), style="dim"),
                )
        self._console.print(table)

    def secrets(self, rows: Sequence[tuple[str, str, str, bool]]) -> None:
        """Name, what the sandbox held, the real value (hidden), whether the real one reached its host."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("credential", "in the sandbox", "the real one", "seen by its host"):
            table.add_column(heading, overflow="fold")
        for name, surrogate, real, arrived in rows:
            table.add_row(
                Text(name),
                _middle(surrogate) or "(the agent did not show it)",
                _hidden(real),
                "the real one" if arrived else Text("no", style="red"),
            )
        self._console.print(table)

    def end(self, failures: Sequence[str]) -> None:
        """The last part: all was well, or what was not."""
        self.title(
            "Done: everything was as it must be" if not failures else "Not everything was as it must be"
        )
        for failure in failures:
            first, *more = failure.splitlines() or [""]
            self._console.print(Text("  ✗  ", style="bold red") + Text(visible(first)))
            for text in more:
                self._console.print(Text(f"     {visible(text)}", style="dim"))

    def line(self, text: str) -> None:
        """A plain line."""
        self._console.print(Text(text))


def _what(event: Mapping[str, Any]) -> str:
    if event["kind"] == "connection":
        return f"connection to {event['host']}:{event['port']}"
    scheme = "" if event["scheme"] == "https" else f"{event['scheme']}://"
    return f"{event['method']:<4} {scheme}{event['host']}{event['path']}"


def _middle(text: str) -> str:
    return text if len(text) <= 44 else f"{text[:26]}…{text[-12:]}"


def _hidden(text: str) -> str:
    """Only its beginning and length: this is printed to logs."""
    return f"{text[:7]}… ({len(text)} characters)"
