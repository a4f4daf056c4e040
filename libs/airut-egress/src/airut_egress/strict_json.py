"""JSON that every parser reads in the same way (RFC 8259 §4 leaves open what two equal keys mean)."""

import json
from collections.abc import Callable
from typing import Any, Final

MAX_VALUES: Final = 1_000_000
"""In one document. Three bytes of `[],` become seventy of memory, and 32 MiB of them held up everybody for seconds
(field notes 35). A million tokens of a conversation have fewer."""
_BEFORE_VALUES: Final = (b",", b"[", b"{")


class BadJson(ValueError):
    """Not JSON, or JSON that parsers may read differently; the message is for people."""


def parse(body: bytes, *, max_depth: int, parse_float: Callable[[str], float] = float) -> Any:
    """One value in UTF-8 without a byte order mark.

    Args:
        max_depth: how many objects and lists may stand in each other.
        parse_float: reads a number with a fraction or an exponent; it may refuse one with `BadJson`.

    Raises:
        BadJson: it is not that, a key stands twice, a number is not finite, it is nested too deeply, or may have more
            than `MAX_VALUES`: what stands in strings is counted as well, which takes no parser.
    """
    if sum(map(body.count, _BEFORE_VALUES)) > MAX_VALUES:
        raise BadJson(f"the body has more than {MAX_VALUES} values, or as many commas and brackets")
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=parse_float,
            parse_constant=_refuse_constant,
        )
    except BadJson:
        raise
    except UnicodeDecodeError:
        raise BadJson("the body is not UTF-8") from None
    except (ValueError, RecursionError):
        raise BadJson("the body is not JSON") from None
    _check_depth(value, max_depth)
    return value


def dump(value: Any) -> bytes:
    """The same value, written once more.

    Raises:
        BadJson: it has half of a surrogate pair, or a number that is not finite.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except ValueError:
        raise BadJson("the body has a character or a number that cannot be sent on") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJson("the body has a key twice")
    return found


def _refuse_constant(_: str) -> Any:
    raise BadJson("the body has a number that is not finite")


def _check_depth(value: Any, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]
        if not level:
            return
    raise BadJson("the body is nested too deeply")


def _inside(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value
