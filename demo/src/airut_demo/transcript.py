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


class Transcript:
    """Writes to standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, width=None if Console().is_terminal else 110)
        self._began = time.monotonic()

    def title(self, text: str) -> None:
        """A new part of the story."""
        self._console.print()
        self._console.rule(Text(text, style="bold"), align="left")

    def step(self, text: str) -> None:
        """Something happened just now."""
        self._console.print(
            Text(f"{time.monotonic() - self._began:7.1f} s  ", style="dim") + Text(visible(text))
        )

    def check(self, text: str, *, good: bool) -> None:
        """Something was to be so; it is, or it is not."""
        mark = Text("         ✓  ", style="green") if good else Text("         ✗  ", style="bold red")
        self._console.print(mark + Text(visible(text)))

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

    def network(self, events: Sequence[Mapping[str, Any]]) -> None:
        """The network log of a task."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("decision", "what", "status", "credential", "why"):
            table.add_column(heading, overflow="fold")
        for event in events:
            if event["kind"] in {"request", "connection"}:
                style = "green" if event["decision"] == "allow" else "red"
                what = f"{event['method']} {event['scheme']}://{event['host']}{event['path']}"
                if event["kind"] == "connection":
                    what = f"TCP {event['host']}:{event['port']}"
                table.add_row(
                    Text(event["decision"], style=style),
                    Text(visible(what)),
                    str(event["status"] or ""),
                    ", ".join(event["credentials"]),
                    Text(visible(event["reason"])),
                )
        self._console.print(table)

    def secrets(self, rows: Sequence[tuple[str, str, str, bool]]) -> None:
        """Name, what the sandbox held, the real value (hidden), whether the real one reached its host."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("credential", "in the sandbox", "the real one", "seen by its host"):
            table.add_column(heading, overflow="fold")
        for name, surrogate, real, arrived in rows:
            table.add_row(
                name,
                _middle(surrogate),
                _hidden(real),
                "the real one" if arrived else Text("no", style="red"),
            )
        self._console.print(table)

    def line(self, text: str) -> None:
        """A plain line."""
        self._console.print(Text(text))


def _middle(text: str) -> str:
    return text if len(text) <= 44 else f"{text[:26]}…{text[-12:]}"


def _hidden(text: str) -> str:
    """Only its beginning and length: this is printed to logs."""
    return f"{text[:7]}… ({len(text)} characters)"
