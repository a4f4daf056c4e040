"""Strict YAML: every problem names file, line and field, and says what was expected (rows 57 and 81)."""

import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from airut_common.config.explain import Path, explain, field_name

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_OPEN_BRACKETS = 64
"""Counted wherever they stand: the parser's time grows with the square of the open ones."""
MAX_NODES = 100_000

_BRACKET = re.compile(r"[][{}]")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}


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
    lines: dict[Path, int] = {}
    reader = _Reader(source, lines)
    with warnings.catch_warnings(action="error"):
        # What the parser only warns of can be read in two ways, and a warning reaches nobody who could mend the file.
        root = _compose(text, source)
        data: Any = {} if root is None else reader.read(root)
    if not isinstance(data, dict):
        raise ConfigError((Problem(source, 1, "", "must hold `key: value` lines at its top level"),))
    try:
        # By way of JSON: there a list may become a tuple and a string a path, yet no string a number or boolean.
        found = model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problems = describe(error, source, model, lines)
        named = {problem.field for problem in problems}
        raise ConfigError((*problems, *(p for p in reader.empty if p.field not in named))) from None
    if reader.empty:
        raise ConfigError(tuple(reader.empty))
    return found


def describe(
    error: ValidationError, source: str, model: type[BaseModel], lines: Mapping[Path, int] | None = None
) -> tuple[Problem, ...]:
    """A validation error in words, each problem once; `lines` tells where fields stand in the source."""
    problems = []
    found = error.errors(include_url=False)
    within = {each["loc"][:end] for each in found for end in range(len(each["loc"]))}
    for details in found:
        if details["type"] == "too_short" and details["loc"] in within:
            continue  # what is wrong in a list was not counted
        field, line, message = explain(details, lines or {}, model)
        problems.append(Problem(source, line, field, message))
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0))


def _compose(text: str, source: str) -> Node | None:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ConfigError((Problem(source, None, "", f"is larger than {MAX_BYTES // 1024} KiB"),))
    if _open_brackets(text) > MAX_OPEN_BRACKETS:
        raise ConfigError((Problem(source, None, "", "is nested too deeply"),))
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.Composer = _Composer
        root: Node | None = yaml.compose(text)
        return root
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise ConfigError((Problem(source, line, "", _syntax(str(error.problem))),)) from None
    except RecursionError:
        raise ConfigError((Problem(source, None, "", "is nested too deeply"),)) from None
    except (YAMLError, Warning, AssertionError, ValueError) as error:
        # It asserts that it knows the version of a `%YAML` line.
        first = str(error).splitlines()[0]
        raise ConfigError((Problem(source, None, "", f"is not valid YAML: {first}"),)) from None


class _Composer(Composer):
    """Takes each anchor once. Otherwise an alias would mean the last one that stands above it."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if not isinstance(event, AliasEvent) and event.anchor in self.anchors:
            first = self.anchors[event.anchor].start_mark.line + 1
            problem = f"the anchor &{event.anchor} stands in line {first} already; give this one another name"
            raise ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


def _open_brackets(text: str) -> int:
    """The most brackets that are open at one place."""
    most = now = 0
    for bracket in _BRACKET.finditer(text):
        now = now + 1 if bracket[0] in "[{" else max(0, now - 1)
        most = max(most, now)
    return most


def _syntax(problem: str) -> str:
    if r"'\t'" in problem:
        return "is not valid YAML: lines are indented with spaces, not with tabs"
    return f"is not valid YAML: {problem}"


class _Reader:
    """From YAML nodes to JSON-able values, noting the line of each."""

    def __init__(self, source: str, lines: dict[Path, int]) -> None:
        self._source = source
        self._lines = lines
        self._count = 0
        self.empty: list[Problem] = []
        """Keys without a value: a block that lost its content must not mean "as if it were not there" (row 57)."""
        self._constructor = YAML(typ="safe", pure=True).constructor

    def read(self, node: Node, path: Path = ()) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        if self._count > MAX_NODES or len(path) > MAX_DEPTH:
            # An alias is read anew wherever it stands: this is where a bomb of aliases ends.
            raise ConfigError((self._problem(line, path[:1], "too large or too deeply nested"),))
        if node.tag not in _PLAIN_TAGS:
            # Dates, binary, `!env` and the like have no place in our files; as text they are wanted in quotes.
            message = f"reads as {str(node.tag).rsplit(':', 1)[-1]}; write it in quotes if text is meant"
            raise ConfigError((self._problem(line, path, message),))
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            case ScalarNode():
                return self._scalar(node, path)
        raise ConfigError((self._problem(line, path, "is of a kind that has no place here"),))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                raise ConfigError((self._problem(line, path, "keys must be plain words"),))
            if key in found:
                raise ConfigError((self._problem(line, (*path, key), "stands here twice"),))
            self._lines[(*path, key)] = line
            found[key] = self.read(value_node, (*path, key))
        return found

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        line = self._lines[path]  # of its key: an empty value is found only where the next line begins
        try:
            value = self._constructor.construct_object(node, deep=True)
        except (ValueError, ArithmeticError, YAMLError, Warning):
            # `._` is a number to the grammar and to nobody else; a number may also have too many digits.
            message = "cannot be read as a number; write it in quotes if text is meant"
            raise ConfigError((self._problem(line, path, message),)) from None
        if value is None:
            self.empty.append(self._problem(line, path, "is empty; write a value or take the line out"))
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError((self._problem(line, path, "must be a finite number"),))
        return value

    def _problem(self, line: int, path: Path, message: str) -> Problem:
        return Problem(self._source, line, field_name(path), message)
