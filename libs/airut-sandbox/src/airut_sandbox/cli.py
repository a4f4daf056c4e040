"""The `airut-sandbox` command. Each command is a few lines here; the work is in the engine."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from airut_common.config.yamlfile import ConfigError
from airut_egress.policy import Policy, parse_policy
from airut_egress.policy.explain import BadUrl, explain
from airut_sandbox.standalone import Asked, MissingSecrets, read_settings
from airut_sandbox.standalone.console import run_and_tell

app = typer.Typer(
    name="airut-sandbox",
    help="Sandboxes without an installation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
policy_app = typer.Typer(help="Read a network allowlist.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")


@app.callback()
def _group() -> None:
    """Commands have names, also while there is only one group of them."""


FileArgument = Annotated[Path, typer.Argument(help="A network-allowlist.yaml.")]
_out = Console(highlight=False, markup=False, soft_wrap=True)
_err = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)


class _Unusable(Exception):
    """What was given cannot be read; the text says why."""


@policy_app.command("check")
def policy_check(file: FileArgument) -> None:
    """Does the file hold? Lists its rules in the order in which they are tried. Exit code 2 when it does not."""
    policy = _read(file)
    for rule in policy.rules:
        _out.print(rule.name)
    _out.print(
        f"{file}: good, {len(policy.rules)} rules" if policy.rules else f"{file}: good, allows nothing"
    )


@policy_app.command("explain")
def policy_explain(
    file: FileArgument,
    method: Annotated[str, typer.Argument(help="Such as GET.")],
    url: Annotated[str, typer.Argument(help="Such as https://api.example.org/path.")],
    body: Annotated[Path | None, typer.Option(help="JSON body of a GraphQL request.")] = None,
) -> None:
    """Which rule allows a request, or which obstacle is in its way. Exit code 1 when it is denied."""
    policy = _read(file)
    try:
        found = explain(policy, method, url, body=body.read_bytes() if body is not None else None)
    except (BadUrl, OSError) as error:
        raise _Unusable(str(error)) from None
    _out.print(f"allow: {found.rule}" if found.allow else f"deny ({found.obstacle}): {found.text}")
    if not found.allow:
        raise typer.Exit(1)


@app.command("run", context_settings={"ignore_unknown_options": True})
def run(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after `--`.")],
    *,
    policy: Annotated[
        Path, typer.Option(help="A network-allowlist.yaml. Take it from a branch that is merged.")
    ],
    image: Annotated[str | None, typer.Option(help="An image to run in.")] = None,
    context: Annotated[
        Path | None, typer.Option(help="A folder with a Dockerfile to build the image from.")
    ] = None,
    workspace: Annotated[Path, typer.Option(help="Shown as /workspace, writable.")] = Path(),
    config: Annotated[
        Path | None, typer.Option(help="YAML: credentials, environment, limits, egress, sandbox.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="Write what it tried to reach there, as JSON lines.")
    ] = None,
) -> None:
    """Run a command in a sandbox whose network is the allowlist.

    Its exit code is the command's; 124 when its time was over, 125 when the sandbox could not be made.
    """
    if (image is None) == (context is None):
        raise _Unusable("give either --image or --context")
    try:
        text = policy.read_text("utf-8")
        parse_policy(text, str(policy))
        asked = Asked(
            command=command,
            policy=text,
            policy_source=str(policy),
            workspace=workspace,
            settings=read_settings(config),
            context=context,
            image=image,
            environment=os.environ,
        )
        with events.open("w", 1, "utf-8") if events is not None else nullcontext() as file:
            raise typer.Exit(run_and_tell(asked, file, _err))
    except (OSError, UnicodeDecodeError, ConfigError, MissingSecrets) as error:
        raise _Unusable(str(error)) from None


def _read(file: Path) -> Policy:
    try:
        return parse_policy(file.read_text("utf-8"), str(file))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise _Unusable(str(error)) from None


def main() -> None:
    """The entry point: what is wrong with the input is a line on stderr and exit code 2."""
    try:
        app()
    except _Unusable as error:
        _err.print(str(error))
        sys.exit(2)
