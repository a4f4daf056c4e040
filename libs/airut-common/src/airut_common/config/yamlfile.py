"""Strict YAML: every problem names file, line and field, and says what was expected (rows 57 and 81)."""

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 100_000

_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing to correct."""

    source: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class ConfigError(Exception):
    """A file that does not validate; `str()` has one line for each problem."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_yaml_model[T: BaseModel](text: str, source: str, model: type[T]) -> T:
    """Parse YAML text into a strict model. An empty file is an empty mapping.

    Raises:
        ConfigError: with every problem that was found.
    """
    root = _compose(text, source)
    lines: dict[Path, int] = {}
    data: Any = {}
    if root is not None:
        data = _Reader(source, lines).read(root)
        if not isinstance(data, dict):
            raise ConfigError((Problem(source, 1, "", "must hold `key: value` lines at its top level"),))
    try:
        # By way of JSON: there a list may become a tuple and a string a path, yet no string a number or boolean.
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise ConfigError(describe(error, source, model, lines)) from None


def describe(
    error: ValidationError, source: str, model: type[BaseModel], lines: Mapping[Path, int] | None = None
) -> tuple[Problem, ...]:
    """A validation error in words, each problem once; `lines` tells where fields stand in the source."""
    found = (_explain(source, details, lines or {}, model) for details in error.errors(include_url=False))
    return tuple(dict.fromkeys(found))


def _compose(text: str, source: str) -> Node | None:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ConfigError((Problem(source, None, "", f"is larger than {MAX_BYTES // 1024} KiB"),))
    try:
        root: Node | None = YAML(typ="safe", pure=True).compose(text)
        return root
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise ConfigError((Problem(source, line, "", f"is not valid YAML: {error.problem}"),)) from None
    except (YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise ConfigError((Problem(source, None, "", f"is not valid YAML: {first}"),)) from None


class _Reader:
    """From YAML nodes to JSON-able values, noting the line of each."""

    def __init__(self, source: str, lines: dict[Path, int]) -> None:
        self._source = source
        self._lines = lines
        self._count = 0
        self._constructor = YAML(typ="safe", pure=True).constructor

    def read(self, node: Node, path: Path = ()) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        if self._count > MAX_NODES or len(path) > MAX_DEPTH:
            # An alias is read anew wherever it stands: this is where a bomb of aliases ends.
            raise self._problem(line, path, "too large or too deeply nested")
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            case ScalarNode():
                return self._scalar(node, path)
        raise self._problem(line, path, "is of a kind that has no place here")

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                raise self._problem(line, path, "keys must be plain words")
            if key in found:
                raise self._problem(line, (*path, key), "stands here twice")
            self._lines[(*path, key)] = line
            found[key] = self.read(value_node, (*path, key))
        return found

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        line = node.start_mark.line + 1
        if node.tag not in _PLAIN_TAGS:
            # Dates and binary have no place in our files; as text they are wanted in quotes.
            kind = str(node.tag).rsplit(":", 1)[-1]
            raise self._problem(line, path, f"reads as {kind}; write it in quotes if text is meant")
        value = self._constructor.construct_object(node, deep=True)
        if isinstance(value, float) and not math.isfinite(value):
            raise self._problem(line, path, "must be a finite number")
        return value

    def _problem(self, line: int, path: Path, message: str) -> ConfigError:
        return ConfigError((Problem(self._source, line, _field(path), message),))


def _explain(
    source: str, details: Mapping[str, Any], lines: Mapping[Path, int], model: type[BaseModel]
) -> Problem:
    path: Path = tuple(details["loc"])
    return Problem(source, _line(path, lines), _field(_known(path, lines)), _message(details, path, model))


def _known(path: Path, lines: Mapping[Path, int]) -> Path:
    """The path as the file has it: pydantic adds names of union members and of missing fields."""
    kept: Path = ()
    for part in path:
        kept = (*kept, part) if (*kept, part) in lines or part == path[-1] else kept
    return kept


def _line(path: Path, lines: Mapping[Path, int]) -> int | None:
    known = _known(path, lines)
    while known:
        if known in lines:
            return lines[known]
        known = known[:-1]
    return lines.get((), None)


def _field(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_EXPECTED = {
    "string_type": "must be text; write it in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false, without quotes",
    "list_type": "must be a list: lines that begin with `- `",
    "tuple_type": "must be a list: lines that begin with `- `",
    "dict_type": "must be a block of `key: value` lines",
    "model_type": "must be a block of `key: value` lines",
    "model_attributes_type": "must be a block of `key: value` lines",
    "missing": "is missing",
    "too_short": "must not be empty",
    "path_type": "must be a path, as text",
}


def _message(details: Mapping[str, Any], path: Path, model: type[BaseModel]) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), _names_at(path[:-1], model))
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    message = str(details["msg"])
    return message.removeprefix("Value error, ")


def _unknown_key(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"unknown key; did you mean `{close[0]}`?"
    return f"unknown key; known here: {', '.join(known)}" if known else "unknown key"


def _names_at(path: Path, model: type[BaseModel]) -> list[str]:
    """The keys a model knows at a path; empty when the path leaves plain nested models."""
    current: Any = model
    for part in path:
        found = (
            _models_in(current.model_fields[part].annotation)
            if part in getattr(current, "model_fields", {})
            else []
        )
        if isinstance(part, int) or not found:
            # Through a list or a mapping with free keys: the annotation of the field already named the model.
            continue
        current = found[0]
    return sorted(getattr(current, "model_fields", {}))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
