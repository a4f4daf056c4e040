"""Validation errors in a person's words: which field, on which line, and what was expected there."""

import difflib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from airut_common.config.models import PATTERN_WORDS

Path = tuple[str | int, ...]

_KEY = "[key]"  # how pydantic marks that a mapping's key is wrong, and not its value
_EXPECTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "string_type": lambda _: "must be text; write it in quotes",
    "int_type": lambda _: "must be a whole number",
    "int_parsing": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "bool_type": lambda _: "must be true or false, without quotes",
    "list_type": lambda _: "must be a list: lines that begin with `- `",
    "tuple_type": lambda _: "must be a list: lines that begin with `- `",
    "dict_type": lambda _: "must be a block of `key: value` lines",
    "model_type": lambda _: "must be a block of `key: value` lines",
    "model_attributes_type": lambda _: "must be a block of `key: value` lines",
    "missing": lambda _: "is missing",
    "path_type": lambda _: "must be a path, as text",
    "too_short": lambda c: (
        "must not be empty" if c["min_length"] == 1 else f"needs {c['min_length']} or more"
    ),
    "too_long": lambda c: f"may have {c['max_length']} at most",
    "string_too_short": lambda c: f"must have {c['min_length']} or more characters",
    "string_too_long": lambda c: f"may have {c['max_length']} characters at most",
    "string_pattern_mismatch": lambda c: f"must {PATTERN_WORDS.get(c['pattern'], 'match ' + c['pattern'])}",
    "literal_error": lambda c: f"must be {c['expected']}",
    "union_tag_invalid": lambda c: (
        f"has an unknown type; known here: {c['expected_tags'].replace(chr(39), '')}"
    ),
    "greater_than": lambda c: f"must be more than {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be {c['ge']:g} or more",
    "less_than": lambda c: f"must be less than {c['lt']:g}",
    "less_than_equal": lambda c: f"must be {c['le']:g} or less",
}


def explain(
    details: Mapping[str, Any], lines: Mapping[Path, int], model: type[BaseModel]
) -> tuple[str, int | None, str]:
    """Field, line and message for one entry of `ValidationError.errors()`; `lines` tells where fields stand."""
    path: Path = tuple(details["loc"])
    message = _message(details, path, model)
    if path and path[-1] == _KEY:
        path, message = path[:-1], f"as a name {message}"
    known = _known(path, lines)
    return field_name(known), _line(known, lines), message


def field_name(path: Path) -> str:
    """`repos.demo.senders[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _known(path: Path, lines: Mapping[Path, int]) -> Path:
    """The path as the file has it: pydantic puts names of union members in between, and an index behind what may be
    one thing or a list."""
    kept: Path = ()
    for index, part in enumerate(path):
        is_missing = index == len(path) - 1 and isinstance(part, str)
        if not lines or (*kept, part) in lines or is_missing:
            kept = (*kept, part)
    return kept


def _line(path: Path, lines: Mapping[Path, int]) -> int | None:
    """The line of a field, or of the nearest thing around it that is there."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _message(details: Mapping[str, Any], path: Path, model: type[BaseModel]) -> str:
    if details["type"] == "extra_forbidden":
        return _unknown_key(str(path[-1]), _keys_at(path[:-1], model))
    words = _EXPECTED.get(details["type"])
    if words is not None:
        return words(details.get("ctx", {}))
    return str(details["msg"]).removeprefix("Value error, ")


def _unknown_key(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"unknown key; did you mean `{close[0]}`?"
    return f"unknown key; known here: {', '.join(known)}" if known else "unknown key"


def _keys_at(path: Path, model: type[BaseModel]) -> list[str]:
    """The keys that are known at a path; empty when it leads to nothing with keys."""
    places: list[Any] = [model]
    for part in path:
        # The names of union members that pydantic puts into a path lead nowhere: they are left out.
        places = [inner for place in places for inner in _into(place, part)] or places
    return sorted({key for place in places if _is_model(place) for key in place.model_fields})


def _into(place: Any, part: str | int) -> list[Any]:
    """Types that may stand under a key, or at an index, of a type."""
    if _is_model(place):
        field = place.model_fields.get(part)
        return _members(field.annotation) if field is not None else []
    arguments = [argument for argument in typing.get_args(place) if argument is not Ellipsis]
    origin = typing.get_origin(place)
    if arguments and isinstance(origin, type) and issubclass(origin, Mapping):
        return _members(arguments[1])
    if arguments and isinstance(part, int) and origin in {list, tuple}:
        return _members(arguments[0])
    return []


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a union, without annotations around them."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return [member for argument in typing.get_args(annotation) for member in _members(argument)]
    return [annotation]


def _is_model(place: Any) -> bool:
    return isinstance(place, type) and issubclass(place, BaseModel)
