"""The `airut` command. Each command is a few lines here; the work is in the module of its name."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from airut import check as checks
from airut import egress
from airut import mail as mails
from airut import secret as secrets
from airut.bus_access import admin_bus, bus_url
from airut.console import visible
from airut.errors import UsageError
from airut.installation import DEFAULT_FILE, open_installation
from airut.orchestrator import collect_garbage, stop_task
from airut.status import InstallationStatus, read_status
from airut.task_log import read_log
from airut.up import run_installation
from airut_common.config.store import apply_config
from airut_common.config.yamlfile import ConfigError
from airut_common.contracts.v1 import GarbageCollected, OpenedSession
from airut_common.log import configure_logging

app = typer.Typer(
    name="airut",
    help="Run, check, configure and watch an Airut installation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
secret_app = typer.Typer(help="Seal secrets to the service that needs them.", no_args_is_help=True)
app.add_typer(secret_app, name="secret")
mail_app = typer.Typer(help="Look into mail.", no_args_is_help=True)
app.add_typer(mail_app, name="mail")

egress_app = typer.Typer(help="Look at the networks of sandboxes.", no_args_is_help=True)
app.add_typer(egress_app, name="egress")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The installation's airut.yaml.")]
RepoOption = Annotated[str | None, typer.Option("--repo", help="The repository the secret belongs to.")]
NameArgument = Annotated[str, typer.Argument(help="The secret's name, as airut.yaml has it.")]

out = Console(highlight=False)
_MARKS = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


@app.command()
def up(config: ConfigOption = DEFAULT_FILE) -> None:
    """Start the bus and every service; restart what dies; stop in order on Ctrl-C."""
    asyncio.run(run_installation(open_installation(config)))


@app.command()
def check(config: ConfigOption = DEFAULT_FILE) -> None:
    """Can this host run sandboxes, and is the configuration good? Exit code 1 when something fails."""
    with tempfile.TemporaryDirectory(prefix="airut-check-") as folder:
        found = asyncio.run(checks.findings(config, Path(folder)))
    for finding in found:
        out.print(f"{_MARKS[finding.status]} {finding.name}: ", end="")
        out.print(finding.detail, markup=False)
        if finding.status != "ok" and finding.remedy:
            out.print(f"       → {finding.remedy}", markup=False)
    if any(finding.status == "fail" for finding in found):
        raise typer.Exit(1)


@app.command()
def apply(config: ConfigOption = DEFAULT_FILE) -> None:
    """Validate airut.yaml and hand it to the running services."""

    async def run() -> list[str]:
        installation = open_installation(config)
        async with admin_bus(installation) as bus:
            return list(await apply_config(bus, installation.config))

    changes = asyncio.run(run())
    out.print("\n".join(changes) if changes else "nothing changed", markup=False)


@app.command()
def status(
    config: ConfigOption = DEFAULT_FILE,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """What runs, where it listens, what waits, what was given up. Exit code 1 unless every service is ready."""

    async def run() -> InstallationStatus:
        installation = open_installation(config)
        async with admin_bus(installation) as bus:
            return await read_status(bus, bus_url(installation), installation)

    found = asyncio.run(run())
    if as_json:
        out.print(found.to_json(), markup=False, soft_wrap=True)
    else:
        _print_status(found)
    if not all(service.ready for service in found.services):
        raise typer.Exit(1)


@app.command("log")
def show_log(
    task: Annotated[str, typer.Argument(help="The task's id, as the dashboard shows it.")],
    config: ConfigOption = DEFAULT_FILE,
) -> None:
    """Everything that a task's agent wrote, as it came. Kept on the host that ran it, as long as its conversation."""
    for line in read_log(open_installation(config), task):
        sys.stdout.write(line + "\n")


@app.command()
def stop(
    task: Annotated[str, typer.Argument(help="The task's id, as the dashboard shows it.")],
    config: ConfigOption = DEFAULT_FILE,
) -> None:
    """Stop a task: what it has done is kept, and the person who asked is told. Exit code 1 when it is over already."""

    async def run() -> bool:
        installation = open_installation(config)
        async with admin_bus(installation) as bus:
            return await stop_task(bus, task)

    if not asyncio.run(run()):
        out.print(f"{task}: there is nothing to stop; it is unknown or over", markup=False)
        raise typer.Exit(1)
    out.print(f"{task}: stopped", markup=False)


@app.command()
def gc(
    config: ConfigOption = DEFAULT_FILE,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
) -> None:
    """Remove conversations, images and agents that nobody uses any more, as the schedule does every hour."""

    async def run() -> GarbageCollected:
        installation = open_installation(config)
        async with admin_bus(installation) as bus:
            return await collect_garbage(bus, dry_run=dry_run)

    found = asyncio.run(run())
    for kind, names in (
        ("conversation", found.conversations),
        ("image", found.images),
        ("agent", found.agents),
    ):
        for name in names:
            out.print(f"{kind} {name}", markup=False)
    for problem in found.problems:
        out.print(f"not removed: {problem}", markup=False)
    verb = "would be removed" if dry_run else "removed"
    out.print(
        f"{found.conversation_count} conversations, {found.image_count} images and {len(found.agents)} versions of the "
        f"agent {verb}",
        markup=False,
    )
    if found.problems:
        raise typer.Exit(1)


@secret_app.command("set")
def secret_set(name: NameArgument, repo: RepoOption = None, config: ConfigOption = DEFAULT_FILE) -> None:
    """Seal a value, read from standard input or a prompt; never from the command line."""
    installation = open_installation(config)
    places = secrets.find_places(installation.config, name, repo)
    if sys.stdin.isatty():
        value = typer.prompt(f"Value of {name}", hide_input=True)
    else:
        value = sys.stdin.read().removesuffix("\n")

    async def run() -> None:
        async with admin_bus(installation) as bus:
            await secrets.set_secret(bus, places, value)

    asyncio.run(run())
    services = dict.fromkeys(place.service for place in places)
    out.print(f"{name}: sealed to {' and '.join(services)}", markup=False)


@secret_app.command("list")
def secret_list(config: ConfigOption = DEFAULT_FILE) -> None:
    """Which secrets the configuration names, and which of them are set. Values are never shown."""
    installation = open_installation(config)

    async def run() -> list[tuple[secrets.SecretPlace, bool]]:
        async with admin_bus(installation) as bus:
            return await secrets.listing(bus, installation.config)

    table = Table("secret", "used by", "field", "set")
    for place, is_set in asyncio.run(run()):
        table.add_row(place.name, place.service, place.field, "yes" if is_set else "[red]no[/]")
    out.print(table)


@secret_app.command("rm")
def secret_rm(name: NameArgument, repo: RepoOption = None, config: ConfigOption = DEFAULT_FILE) -> None:
    """Forget a secret's value."""
    installation = open_installation(config)
    places = secrets.find_places(installation.config, name, repo)

    async def run() -> None:
        async with admin_bus(installation) as bus:
            await secrets.remove_secret(bus, places)

    asyncio.run(run())
    out.print(f"{name}: removed", markup=False)


@egress_app.command("sessions")
def egress_sessions(
    config: ConfigOption = DEFAULT_FILE,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """The sandboxes that have a network now, and what went through it. What each asked for is in the dashboard."""

    async def run() -> list[OpenedSession]:
        installation = open_installation(config)
        async with admin_bus(installation) as bus:
            return await egress.open_sessions(bus)

    found = asyncio.run(run())
    if as_json:
        out.print(egress.as_json(found), markup=False, soft_wrap=True)
    elif found:
        out.print(egress.as_table(found))
    else:
        out.print("no sandbox has a network now")


@mail_app.command("verify")
def mail_verify(
    file: Annotated[Path, typer.Argument(help="A mail as it was saved, with all its headers.")],
    *,
    peer: Annotated[str | None, typer.Option(help="IP address of the client that delivered it.")] = None,
    ehlo: Annotated[str | None, typer.Option(help="The name that the client greeted with.")] = None,
    mail_from: Annotated[str | None, typer.Option(help="MAIL FROM; empty is the null sender.")] = None,
    at: Annotated[str | None, typer.Option(help="When it arrived (ISO 8601); now, if left out.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="airut.yaml, if another than the one here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole record, for programs.")] = False,
) -> None:
    """Who sent this mail, by the rules of the gateway? Exit code 1: refused; 3: the DNS did not answer."""
    envelope = mails.read_envelope(peer, ehlo, mail_from)
    when = mails.read_time(at) if at is not None else None
    found = asyncio.run(mails.verify_file(file, config, envelope, when))
    if as_json:
        out.print_json(data=found.as_json(), ensure_ascii=True)
    else:
        for label, text in found.lines():
            out.print(f"{label:10}{visible(text)}", markup=False, soft_wrap=True)
    if found.record.verdict != "proven":
        raise typer.Exit(1 if found.record.verdict == "refused" else 3)


def _print_status(found: InstallationStatus) -> None:
    table = Table("service", "state", "since", Column("addresses", no_wrap=True, overflow="fold"))
    for service in found.services:
        addresses = ", ".join(service.addresses.values())
        table.add_row(
            service.name, "ready" if service.ready else "[red]not ready[/]", service.since, addresses
        )
    out.print(table)
    out.print(
        f"bus {found.nats_url}: " + ", ".join(f"{name} {count}" for name, count in found.streams.items())
    )
    for warning in found.warnings:
        out.print(f"warning: {warning}", style="red", markup=False, soft_wrap=True)
    for failure in found.failures:
        text = visible(f"{failure.at}  given up: {failure.what}: {failure.reason}")
        out.print(text, style="red", markup=False, soft_wrap=True)


def main() -> None:
    """Entry point: an operator's mistake is a sentence and exit code 2, never a traceback."""
    configure_logging("airut", log_format="text", level="warning")
    try:
        app()
    except (UsageError, ConfigError) as error:
        Console(stderr=True, highlight=False).print(str(error), markup=False, soft_wrap=True)
        sys.exit(2)
