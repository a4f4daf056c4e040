"""Each setting, command and option is in the documents, and each command in them exists."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

from airut.cli import app as airut
from airut_common.config.base import StrictModel
from airut_common.config.models import InstallationConfig
from airut_sandbox.cli import app as airut_sandbox

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "docs/airut.example.yaml").read_text()
DOCUMENTS = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
TEXT = "\n".join(path.read_text() for path in DOCUMENTS)

ELSEWHERE = {"oauth2": "docs/email", "dkim": "docs/email", "credentials": "docs/credentials.md"}
"""Blocks whose keys a document of their own explains, or a folder of them; the example has one of each, or leads there."""


def models_in(annotation: object) -> Iterator[type[StrictModel]]:
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)


def settings_of(model: type[StrictModel], text: str) -> Iterator[tuple[str, str]]:
    """Every setting with the text that has to explain it."""
    for name, field in model.model_fields.items():
        yield name, text
        place = ELSEWHERE.get(name)
        for inner in models_in(field.annotation):
            yield from settings_of(inner, _read(ROOT / place) if place else text)


def _read(place: Path) -> str:
    files = sorted(place.glob("*.md")) if place.is_dir() else [place]
    return "\n".join(file.read_text() for file in files)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(name, text, id=name)
        for name, text in dict.fromkeys(settings_of(InstallationConfig, EXAMPLE))
    ],
)
def test_a_setting_is_explained(name: str, text: str) -> None:
    assert re.search(rf"\b{name}\b", text)


def commands_of(group: TyperCommand | TyperGroup, name: str) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(group, TyperGroup):
        for key, command in group.commands.items():
            yield from commands_of(command, f"{name} {key}")
    else:
        yield name, group


COMMANDS = dict(
    [
        *commands_of(typer.main.get_command(airut), "airut"),
        *commands_of(typer.main.get_command(airut_sandbox), "airut-sandbox"),
    ]
)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_options_are_documented(name: str) -> None:
    assert re.search(rf"\b{name}\b", TEXT)
    options = [max(each.opts, key=len) for each in COMMANDS[name].params if isinstance(each, TyperOption)]
    assert COMMANDS[name].params, "every command takes something"
    said = [path.read_text() for path in DOCUMENTS if name in path.read_text()]
    assert [option for option in options if not any(option in text for text in said)] in (
        [],
        ["--config"],
    )


def test_commands_in_the_documents_exist() -> None:
    code = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) + re.findall(r"`([^`\n]+)`", TEXT)
    named = {
        found for text in code for found in re.findall(r"(?m)(?:^|bin/)(airut(?:-sandbox)? [a-z].*)$", text)
    }
    assert named
    unknown = [line for line in named if not any(line.split("#")[0].startswith(name) for name in COMMANDS)]
    assert unknown == []
