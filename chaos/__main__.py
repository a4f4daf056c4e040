"""`make chaos`: a stream of tasks while everything dies, for each seed; prints a table. Exit code 1 when an invariant
does not hold.

The log and the database of each run lie in `chaos/found`.
"""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from airut_common.log import configure_logging
from chaos.plan import make_plan
from chaos.run import Outcome, run_plan

FOUND = Path(__file__).parent / "found"


def main(
    seeds: Annotated[list[int] | None, typer.Argument(help="Each is a run of its own.")] = None,
    tasks: Annotated[int, typer.Option(help="Messages of each run.")] = 200,
    seconds: Annotated[int, typer.Option(help="The time within which they come, and blows fall.")] = 300,
    blows: Annotated[int, typer.Option(help="Misfortunes of each run.")] = 60,
) -> None:
    """Let everything go wrong."""
    configure_logging("chaos", log_format="text", level="info")
    shutil.rmtree(FOUND, ignore_errors=True)
    outcomes = []
    for seed in seeds or (1, 2, 3):
        plan = make_plan(seed, messages=tasks, seconds=seconds, blows=blows)
        outcomes.append(asyncio.run(run_plan(plan, keep=FOUND / str(seed))))
        for line in outcomes[-1].broken:
            typer.echo(f"seed {seed}: {line}")
    show(outcomes)
    raise typer.Exit(any(outcome.broken for outcome in outcomes))


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the table."""
    table = Table(
        "seed", "accepted", "outcomes", "kills", "other blows", "copies", "seconds", "invariants",
        title="Everything dies, nothing is lost", title_justify="left",
    )  # fmt: skip
    for outcome in outcomes:
        table.add_row(
            str(outcome.seed),
            str(outcome.accepted),
            ", ".join(f"{count} {state}" for state, count in sorted(outcome.outcomes.items())),
            f"{outcome.kills}: " + _counted(outcome, kills=True),
            _counted(outcome, kills=False),
            str(outcome.copies),
            f"{outcome.seconds:.0f}",
            f"{len(outcome.broken)} BROKEN" if outcome.broken else "all hold",
        )
    Console(width=None if Console().is_terminal else 180).print(table)


def _counted(outcome: Outcome, *, kills: bool) -> str:
    return ", ".join(
        f"{count} {target}" if kills else f"{count} {kind}: {target}"
        for (kind, target), count in sorted(outcome.hit.items())
        if (kind == "kill") == kills
    )


if __name__ == "__main__":
    typer.run(main)
