"""`make fuzz`: every target for a while, two at a time; prints a table. Exit code 1 when something was found.

What is found lies in `fuzz/found`, and belongs into `fuzz/corpus` once it is mended: the corpus is run with the unit
tests.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fuzz.targets import TARGETS

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
_KEPT = 100
"""Inputs in each target's corpus."""


@dataclass(frozen=True)
class Outcome:
    """What became of one target."""

    target: str
    runs: int
    coverage: int
    failed: bool
    tail: str


def fuzz(target: str, seconds: int) -> Outcome:
    """Run one target, and keep what reaches something new."""
    seeds = CORPUS / target
    seeds.mkdir(parents=True, exist_ok=True)
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "fuzz.run",
                    target,
                    scratch,
                    str(seeds),
                    f"-max_total_time={seconds}",
                ),
                *(
                    "-max_len=2048",
                    "-timeout=20",
                    "-rss_limit_mb=2048",
                    f"-artifact_prefix={FOUND / target}-",
                ),
            ],
            cwd=HERE.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            _keep(seeds, Path(scratch))
    runs = re.findall(r"Done (\d+) runs", done.stderr)
    coverage = re.findall(r"cov: (\d+)", done.stderr)
    return Outcome(
        target,
        int(runs[-1]) if runs else 0,
        int(coverage[-1]) if coverage else 0,
        done.returncode != 0,
        (done.stdout + done.stderr)[-3000:],
    )


def _keep(seeds: Path, found: Path) -> None:
    """The smallest of what reached something new, up to the bound."""
    room = _KEPT - len(list(seeds.iterdir()))
    smallest = sorted(found.iterdir(), key=lambda file: file.stat().st_size)
    for file in smallest[: max(room, 0)]:
        shutil.copyfile(file, seeds / file.name)


def main(
    targets: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(TARGETS)}.")] = None,
    seconds: Annotated[int, typer.Option(help="For each target.")] = 60,
) -> None:
    """Fuzz the targets."""
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda target: fuzz(target, seconds), targets or TARGETS))
    table = Table("target", "runs", "coverage", "result", title=f"{seconds} s each")
    for outcome in outcomes:
        table.add_row(
            outcome.target,
            f"{outcome.runs:,}",
            str(outcome.coverage),
            "FOUND" if outcome.failed else "nothing",
        )
    console = Console()
    console.print(table)
    for outcome in outcomes:
        if outcome.failed:
            console.print(f"\n{outcome.target}:\n{outcome.tail}", markup=False)
    raise typer.Exit(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    typer.run(main)
