"""Pure: what CSS declarations do to text, in a few words of our own: they hide it, show it, size or colour it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import tinycss2
import tinycss2.color4

HIDES: Final = "none"
SHOWS: Final = "auto"
SMALL: Final = "small"
"""So low that only overflow can show its text."""
INHERITED: Final = "inherit"
TRANSPARENT: Final = "transparent"
PICTURE: Final = "picture"
"""A picture, a gradient or a variable: a colour that is not known."""

_COLOURS: Final = frozenset({"color", "background-color"})
_WIDE: Final = frozenset({"inherit", "initial", "unset", "revert", "revert-layer"})
_DISPLAYS: Final = frozenset(
    {"block", "inline", "inline-block", "flex", "inline-flex", "grid", "inline-grid", "table", "inline-table",
     "list-item", "contents", "flow-root", "run-in", "flow", "table-row", "table-cell", "table-row-group",
     "table-header-group", "table-footer-group", "table-column", "table-column-group", "table-caption"}
)  # fmt: skip
_PIXELS: Final = {
    "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 37.8, "mm": 3.78, "q": 0.945, "em": 16.0, "rem": 16.0,
    "ex": 8.0, "ch": 8.0, "lh": 20.0, "rlh": 20.0, "vw": 10.0, "vh": 8.0, "vmin": 8.0, "vmax": 10.0, "vi": 10.0,
    "vb": 8.0, "svw": 10.0, "svh": 8.0, "lvw": 10.0, "lvh": 8.0, "dvw": 10.0, "dvh": 8.0,
}  # fmt: skip
_SIZES: Final = {
    "xx-small": 9, "x-small": 10, "small": 13, "medium": 16, "large": 18, "x-large": 24, "xx-large": 32,
    "xxx-large": 48, "initial": 16,
}  # fmt: skip
_MATH: Final = frozenset({"calc", "min", "max", "clamp"})


@dataclass(frozen=True)
class Effect:
    """One declaration in our words."""

    name: str
    value: str
    important: bool

    @property
    def is_colour(self) -> bool:
        return self.name in _COLOURS

    @property
    def hides(self) -> bool:
        """Whether it takes text away, whatever else is declared. A colour may or may not."""
        if self.name == "font-size":
            return self.value.endswith("px") and float(self.value[:-2]) < 2
        return self.value in (HIDES, SMALL)

    def __str__(self) -> str:
        return f"{self.name}:{self.value}{'!important' if self.important else ''}"


@lru_cache(maxsize=2048)
def plain_style(style: str) -> str:
    """A style attribute in our words; the last of two declarations wins, as in CSS."""
    try:
        found = list(effects(tinycss2.parse_blocks_contents(style, skip_comments=True, skip_whitespace=True)))
    except RecursionError:
        return f"display:{HIDES}"
    winners: dict[str, Effect] = {}
    for effect in found:
        if effect.important or effect.name not in winners or not winners[effect.name].important:
            winners[effect.name] = effect
    return ";".join(map(str, winners.values()))


@lru_cache(maxsize=2048)
def read_style(style: str) -> Mapping[str, str]:
    """What `plain_style` wrote, or a library made of it."""
    pairs = (item.partition(":") for item in style.split(";") if item)
    return {name.strip(): value.partition("!")[0].strip() for name, _, value in pairs}


def effects(content: Sequence[Any]) -> Iterator[Effect]:
    """Of a parsed block. What CSS would not understand, and what concerns no text, is left out."""
    for node in content:
        if node.type != "declaration":
            continue
        value = [token for token in node.value if token.type not in ("whitespace", "comment")]
        for name, word in _meaning(node.lower_name, value):
            yield Effect(name, word, node.important)


def _meaning(name: str, value: list[Any]) -> Iterator[tuple[str, str]]:
    if name in ("color", "-webkit-text-fill-color"):
        word = _colour(value)
        if word is not None:
            yield "color", word
    elif name in ("background", "background-color", "background-image"):
        word = _background(value, single=name != "background")
        if word is not None and (name != "background-image" or word == PICTURE):
            yield "background-color", word
    elif name in ("font-size", "font"):
        word = _font_size(value)
        if word is not None:
            yield "font-size", word
    elif name == "overflow":
        yield name, HIDES if {"hidden", "clip"} & set(_idents(value)) else SHOWS
    elif name in _HIDING:
        hidden = True if _has_variable(value) else _HIDING[name](value)
        if hidden is not None:
            yield name, hidden if isinstance(hidden, str) else HIDES if hidden else SHOWS


@lru_cache(maxsize=256)
def parse_colour(text: str) -> str:
    """Of an attribute."""
    found = tinycss2.color4.parse_color(text.strip()) or tinycss2.color4.parse_color(f"#{text.strip()}")
    return _as_word(found) if found else PICTURE


def _colour(value: list[Any]) -> str | None:
    if len(value) != 1:
        return None
    token = value[0]
    if token.type == "ident" and token.lower_value in _WIDE:
        return "#000000" if token.lower_value == "initial" else INHERITED
    if _has_variable(value):
        return PICTURE
    found = tinycss2.color4.parse_color(token)
    return _as_word(found) if found else None


def _as_word(colour: Any) -> str:
    if colour == "currentcolor":
        return INHERITED
    if not (colour.alpha >= 0.1):
        return TRANSPARENT
    if colour.space not in ("srgb", "hsl", "hwb"):
        return PICTURE
    channels = [min(1.0, max(0.0, float(one or 0))) for one in colour.to("srgb").coordinates[:3]]
    return "#" + "".join(f"{round(255 * one):02x}" for one in channels if not math.isnan(one))


def _background(value: list[Any], *, single: bool) -> str | None:
    if any(
        token.type in ("url", "function") and (token.type == "url" or not tinycss2.color4.parse_color(token))
        for token in value
    ):
        return PICTURE
    found = [colour for token in value if (colour := tinycss2.color4.parse_color(token))]
    if found:
        word = _as_word(found[-1])
        return PICTURE if word == INHERITED else word
    known = {"none", *_WIDE}
    return TRANSPARENT if not single or (len(value) == 1 and set(_idents(value)) & known) else None


def _font_size(value: list[Any]) -> str | None:
    for token in value:
        if token.type == "percentage":
            return f"{token.value / 100:.4f}em"
        if token.type == "dimension" and token.lower_unit == "em":
            return f"{token.value:.4f}em"
        if token.type == "dimension" and token.lower_unit in _PIXELS:
            return f"{token.value * _PIXELS[token.lower_unit]:.4f}px"
        if token.type == "number" and (token.value == 0 or (len(value) == 1 and 0 < token.value < 2)):
            return f"{token.value}px"  # older documents need no unit
        if token.type == "ident" and token.lower_value in _SIZES:
            return f"{_SIZES[token.lower_value]}px"
        if token.type == "function" and token.lower_name in _MATH:
            return "0px" if _is_nothing([token]) else "16px"
    relative = {"larger": "1.2em", "smaller": "0.8em", "inherit": "1em", "unset": "1em"}
    return next((relative[word] for word in _idents(value) if word in relative), None)


def _idents(value: Sequence[Any]) -> list[str]:
    return [token.lower_value for token in value if token.type == "ident"]


def _has_variable(value: Sequence[Any]) -> bool:
    return any(token.type == "function" and token.lower_name in ("var", "env", "attr") for token in value)


def _pixels(token: Any) -> float | None:
    """Roughly; a percentage of an ordinary window."""
    if token.type == "number":
        return float(token.value)
    if token.type == "percentage":
        return float(token.value) * 8
    if token.type == "dimension" and token.lower_unit in _PIXELS:
        return float(token.value) * _PIXELS[token.lower_unit]
    return None


def _lengths(value: Sequence[Any]) -> list[float]:
    return [length for token in value if (length := _pixels(token)) is not None]


def _is_nothing(value: Sequence[Any]) -> bool:
    """A formula of which all lengths are zero."""
    inner = _lengths([one for token in value for one in token.arguments if one.type != "number"])
    return bool(inner) and not any(inner)


def _keyword(*hiding: str, showing: frozenset[str]) -> Callable[[list[Any]], bool | str | None]:
    def judge(value: list[Any]) -> bool | None:
        words = _idents(value)
        if not words or len(words) != len(value):
            return None
        if len(words) == 1 and words[0] in hiding:
            return True
        return False if set(words) <= showing | _WIDE else None

    return judge


def _faint(value: list[Any]) -> bool | None:
    if len(value) != 1:
        return None
    token = value[0]
    if token.type == "ident":
        return False if token.lower_value in _WIDE else None
    if token.type == "function" and token.lower_name in _MATH:
        return any(one.type in ("number", "percentage") and one.value == 0 for one in token.arguments)
    if token.type not in ("number", "percentage"):
        return None
    return float(token.value) < (0.1 if token.type == "number" else 10)


def _extent(value: list[Any]) -> bool | str | None:
    if len(value) != 1:
        return None
    token = value[0]
    if token.type == "function":
        return token.lower_name in _MATH and _is_nothing(value)
    length = _pixels(token)
    if length is None:
        return False if token.type == "ident" else None
    if length < 0 or (token.type == "number" and length != 0):
        return None
    return True if length == 0 else SMALL if length <= 2 else False


def _line_height(value: list[Any]) -> str | None:
    if len(value) != 1:
        return None
    token = value[0]
    if token.type == "ident":
        return SHOWS
    if token.type in ("number", "percentage"):
        factor = float(token.value) / (1 if token.type == "number" else 100)
        return None if factor < 0 else SMALL if factor < 0.2 else SHOWS
    length = _pixels(token)
    return None if length is None else SMALL if length <= 2 else SHOWS


def _far(least: float) -> Callable[[list[Any]], bool | str | None]:
    def judge(value: list[Any]) -> bool | None:
        inner = [one for token in value if token.type == "function" for one in token.arguments]
        if inner:
            return any(abs(length) >= 5000 for length in _lengths(inner))
        lengths = _lengths(value)
        if not lengths:
            return False if _idents(value) else None
        return any(length <= least or length >= 5000 for length in lengths)

    return judge


def _margin(value: list[Any]) -> bool | str | None:
    return (
        _far(-100)([value[0], value[3] if len(value) == 4 else value[min(1, len(value) - 1)]])
        if value
        else None
    )


def _clip(value: list[Any]) -> bool | None:
    if len(value) != 1 or value[0].type != "function":
        return False if _idents(value) else None
    lengths = _lengths(value[0].arguments)
    if len(lengths) != 4:
        return False
    top, right, bottom, left = lengths
    return right - left <= 1 or bottom - top <= 1


def _clip_path(value: list[Any]) -> bool | None:
    for token in value:
        if token.type != "function":
            continue
        numbers = [one for one in token.arguments if one.type in ("percentage", "dimension", "number")]
        if token.lower_name in ("inset", "xywh", "rect"):
            return any(
                (one.type == "percentage" and one.value >= 50) or (_pixels(one) or 0) >= 5000
                for one in numbers
            )
        if token.lower_name in ("circle", "ellipse"):
            return bool(numbers) and any(one.value == 0 for one in numbers[:1])
        return token.lower_name == "polygon" and not any(_lengths(numbers))
    return False if _idents(value) else None


def _filter(value: list[Any]) -> bool | None:
    for token in value:
        if token.type == "function" and token.lower_name == "opacity":
            return bool(_faint([one for one in token.arguments if one.type != "whitespace"]))
    return False if value else None


def _transform(value: list[Any]) -> bool | None:
    for token in value:
        if token.type != "function":
            continue
        inner = [one for one in token.arguments if one.type in ("number", "percentage", "dimension")]
        if token.lower_name.startswith("scale") and _is_shrunk(inner):
            return True
        if token.lower_name.startswith("matrix") and inner and inner[0].value == 0:
            return True
        if token.lower_name.startswith("translate") and _is_moved_away(inner):
            return True
    return False if value else None


def _scale(value: list[Any]) -> bool | None:
    inner = [one for one in value if one.type in ("number", "percentage")]
    return _is_shrunk(inner) if inner else False if _idents(value) else None


def _translate(value: list[Any]) -> bool | None:
    return _is_moved_away(value) if _lengths(value) else False if _idents(value) else None


def _is_shrunk(factors: Sequence[Any]) -> bool:
    return any(abs(one.value) < 0.05 for one in factors)


def _is_moved_away(lengths: Sequence[Any]) -> bool:
    return any(abs(one) >= 1000 for one in _lengths(lengths))


_HIDING: Final[dict[str, Callable[[list[Any]], bool | str | None]]] = {
    "display": _keyword("none", showing=_DISPLAYS),
    "visibility": _keyword("hidden", "collapse", showing=frozenset({"visible"})),
    "content-visibility": _keyword("hidden", showing=frozenset({"visible", "auto"})),
    "mso-hide": _keyword("all", showing=frozenset({"none", "screen"})),
    "opacity": _faint,
    "filter": _filter,
    "-webkit-filter": _filter,
    "height": _extent,
    "width": _extent,
    "max-height": _extent,
    "max-width": _extent,
    "block-size": _extent,
    "inline-size": _extent,
    "max-block-size": _extent,
    "max-inline-size": _extent,
    "line-height": _line_height,
    "left": _far(-100),
    "top": _far(-100),
    "right": _far(-1000),
    "bottom": _far(-1000),
    "inset": _far(-1000),
    "text-indent": _far(-100),
    "margin-left": _far(-100),
    "margin-top": _far(-1000),
    "margin": _margin,
    "clip": _clip,
    "clip-path": _clip_path,
    "-webkit-clip-path": _clip_path,
    "transform": _transform,
    "-webkit-transform": _transform,
    "scale": _scale,
    "zoom": _scale,
    "translate": _translate,
}
