"""Pure: the text a person sees, and nothing that only a machine would read (row 51)."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from html import escape
from html.parser import HTMLParser
from typing import override

import html2text
import nh3

from airut_gateway_email.content.styles import (
    HIDES,
    INHERITED,
    PICTURE,
    SMALL,
    TRANSPARENT,
    parse_colour,
    plain_style,
    read_style,
)
from airut_gateway_email.content.stylesheets import (
    VOID,
    TooIntricateError,
    has_stylesheet,
    inline_stylesheets,
)

_INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # zero width, direction, invisible operators
    "\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff"  # tags and further variation selectors: whole sentences hide in these
    "]"
)
#: Joiners shape scripts and emoji; more than one in a row shapes nothing.
_JOINERS = re.compile("([\u200c\u200d])[\u200c\u200d]+")
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")

_TAGS = frozenset(
    {
        "a", "abbr", "address", "article", "b", "blockquote", "br", "center", "code", "dd", "del", "div", "dl", "dt",
        "em", "font", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "i", "ins", "kbd", "li", "main",
        "ol", "p", "pre", "q", "s", "samp", "section", "small", "span", "strike", "strong", "sub", "sup", "table",
        "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var",
    }
)  # fmt: skip
_DROPPED_WITH_CONTENT = frozenset(
    {
        "script", "style", "title", "template", "noscript", "noembed", "noframes", "object", "svg", "math", "iframe",
        "select", "textarea", "datalist", "dialog", "audio", "video", "canvas", "meter", "progress",
    }
)  # fmt: skip
_VOID = frozenset({"br", "hr"})
MAX_NESTING = 25
"""Time to convert nested lists grows with the square of their depth."""
MAX_REOPENED = 1_000_000
"""An unclosed `<b>` opens anew in each paragraph that follows, so a short text can become a very long one."""
MAX_CLOSED_TAGS = 80_000
NEAR = 8
"""Two colours that differ by no more in any channel look the same."""

_ATTRIBUTES = frozenset({"style", "hidden", "color", "bgcolor", "background", "aria-hidden"})
_REOPENED = re.compile(
    r"<(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?![^\s/>])"
    r"""(?P<clean>(?:\s+[a-z-]+=(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=`]+))*\s*>)?""",
    re.IGNORECASE,
)


def clean_text(text: str) -> str:
    """Without invisible characters, trailing blanks and heaps of empty lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _JOINERS.sub(r"\1", _INVISIBLE.sub("", text)).replace("\u00a0", " ")
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", lines).strip()


def html_to_text(html: str) -> str:
    """The visible text of an HTML mail, as plain text with Markdown where it helps. Images and scripts are dropped.

    Raises:
        TooIntricateError: what a person sees of it cannot be told within bounds.
    """
    _check_reopened(html)
    closed = None
    if has_stylesheet(html):
        closed = inline_stylesheets(html, attributes=set(_ATTRIBUTES), dropped=_DROPPED_WITH_CONTENT)
    if closed is None:
        closed = _closed(html)
    if closed.count("<") > MAX_CLOSED_TAGS:
        raise TooIntricateError
    visible = _VisibleOnly()
    visible.feed(closed)
    visible.close()
    converter = html2text.HTML2Text(bodywidth=0)
    converter.ignore_images = True
    converter.unicode_snob = True
    converter.ignore_tables = True
    converter.single_line_break = True
    return clean_text(converter.handle("".join(visible.pieces)))


def _closed(html: str) -> str:
    """As a browser parses it, with every element closed, so that the filter below needs no error recovery."""
    return nh3.clean(
        html,
        tags=set(_TAGS),
        clean_content_tags=set(_DROPPED_WITH_CONTENT),
        attributes={"*": set(_ATTRIBUTES), "a": {"href"}},
        attribute_filter=lambda _tag, name, value: plain_style(value) if name == "style" else value,
        url_schemes={"http", "https", "mailto"},
        strip_comments=True,
        link_rel=None,
    )


def _check_reopened(html: str) -> None:
    """Elements that may be opened anew, times the tags that may do so. Of equal ones a parser opens three."""
    kinds = Counter(
        found[0] if found["clean"] is not None else found.start() for found in _REOPENED.finditer(html)
    )
    if sum(min(count, 3) for count in kinds.values()) * html.count("<") > MAX_REOPENED:
        raise TooIntricateError


@dataclass(frozen=True)
class _Look:
    """What the text of an open element looks like."""

    hidden: bool = False
    """With all that is in it."""
    size: float = 16.0
    color: str = "#000000"
    background: str = "#ffffff"

    @cached_property
    def shows_text(self) -> bool:
        return not (self.hidden or self.size < 2 or _alike(self.color, self.background))


class _VisibleOnly(HTMLParser):
    """Copies markup, without what styles and attributes hide; of what is nested deeper than `MAX_NESTING` only the
    text. Styles are in our own words, and closing tags match: a parser wrote them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[str] = []
        self._depth = 0
        self._open = [(_Look(), False)]  # and whether the element was written

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            if tag in _VOID and not self._open[-1][0].hidden:
                self.pieces.append(f"<{tag}>")
            return
        look, _ = self._open[-1]
        known = {name: value or "" for name, value in attrs}
        if known and not look.hidden:
            look = _looks(look, known)
        # The target of a link that nobody sees would be text as well.
        written = (
            tag in _TAGS and not look.hidden and self._depth < MAX_NESTING and (tag != "a" or look.shows_text)
        )
        if written:
            self._depth += 1
            target = known.get("href") if tag == "a" else None
            self.pieces.append(f'<a href="{escape(target)}">' if target else f"<{tag}>")
        self._open.append((look, written))

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in VOID or len(self._open) == 1:
            return
        _, written = self._open.pop()
        if written:
            self._depth -= 1
            self.pieces.append(f"</{tag}>")

    @override
    def handle_data(self, data: str) -> None:
        self._write(data)

    @override
    def handle_entityref(self, name: str) -> None:
        self._write(f"&{name};")

    @override
    def handle_charref(self, name: str) -> None:
        self._write(f"&#{name};")

    def _write(self, piece: str) -> None:
        if self._open[-1][0].shows_text:
            self.pieces.append(piece)


def _looks(parent: _Look, attributes: dict[str, str]) -> _Look:
    """An element in another."""
    if "hidden" in attributes:
        return _Look(hidden=True)
    style = dict(read_style(attributes.get("style", "")))
    if "bgcolor" in attributes:
        style.setdefault("background-color", parse_colour(attributes["bgcolor"]))
    if "background" in attributes:
        style.setdefault("background-color", PICTURE)
    if "color" in attributes:
        style.setdefault("color", parse_colour(attributes["color"]))
    if not style:
        return parent
    size = style.get("font-size", "1em")
    number = float(size[:-2])
    color, background = style.get("color", INHERITED), style.get("background-color", TRANSPARENT)
    return _Look(
        hidden=_hides(style),
        size=number if size.endswith("px") else number * parent.size,
        color=parent.color if color == INHERITED else color,
        background=parent.background if background == TRANSPARENT else background,
    )


def _hides(style: dict[str, str]) -> bool:
    values = {name: value for name, value in style.items() if name != "overflow"}.values()
    return HIDES in values or (style.get("overflow") == HIDES and SMALL in values)


def _alike(color: str, background: str) -> bool:
    """Whether text of this colour cannot be seen on this background."""
    if color == TRANSPARENT:
        return True
    if not (color.startswith("#") and background.startswith("#")):
        return False
    channels = zip(bytes.fromhex(color[1:]), bytes.fromhex(background[1:]), strict=True)
    return all(abs(one - other) <= NEAR for one, other in channels)
