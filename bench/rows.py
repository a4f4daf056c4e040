"""What a measurement says, and the table it is printed in."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line. `good` None means that there is no target."""

    what: str
    ours: str
    baseline: str
    target: str
    good: bool | None


def p50(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """The 99th percentile; of few values, the largest."""
    return statistics.quantiles(values, n=100)[98] if len(values) >= 100 else max(values)


def machine() -> str:
    """The machine in a line, with its load, because a busy one measures others."""
    models = {
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    }
    load = os.getloadavg()[0]
    who = "root" if os.geteuid() == 0 else "unprivileged"
    return (
        f"{os.cpu_count()} cores, {', '.join(models) or platform.machine()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {who}, load {load:.1f} at the start"
    )


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table."""
    console = Console(width=None if Console().is_terminal else 150)
    table = Table(
        "measurement", "ours", "baseline, same run", "target", "", title=title, title_justify="left"
    )
    for row in rows:
        mark = {True: "[green]met[/]", False: "[bold red]missed[/]", None: ""}[row.good]
        table.add_row(row.what, row.ours, row.baseline, row.target, mark)
    console.print(table)
