"""Pure: the text a person sees, and nothing that only a machine would read (row 51)."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser

import html2text
import nh3

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
        "script",
        "style",
        "title",
        "template",
        "noscript",
        "object",
        "svg",
        "math",
        "iframe",
        "select",
        "textarea",
    }
)
MAX_NESTING = 25
"""Time to convert nested lists grows with the square of their depth."""

_VOID = frozenset({"br", "hr"})
_HIDING_STYLE = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|mso-hide:all|opacity:0?(?:\.0+)?(?:;|$)|"
    r"font-size:(?:0?\.\d+(?:px|pt)|0(?:\.0\d*)?(?:px|pt|em|rem|%)?|1(?:px|pt))(?:!important)?(?:;|$)|"
    r"(?:max-)?(?:height|width):0(?:px|pt|em|%)?(?:!important)?(?:;|$)|"
    r"(?:^|;)color:transparent|(?:left|top|text-indent|margin-left):-\d{3,}|clip:rect\(0|transform:scale\(0"
)
_COLOR = re.compile(r"(?:^|;)color:([^;!]+)")
_BACKGROUND = re.compile(r"(?:^|;)background(?:-color)?:([^;!]+)")
_WHITE = frozenset({"white", "#fff", "#ffffff", "rgb(255,255,255)", "snow", "#fefefe"})


def clean_text(text: str) -> str:
    """Without invisible characters, trailing blanks and heaps of empty lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _JOINERS.sub(r"\1", _INVISIBLE.sub("", text)).replace("\u00a0", " ")
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", lines).strip()


def html_to_text(html: str) -> str:
    """The visible text of an HTML mail, as plain text with Markdown where it helps. Images and scripts are dropped."""
    # nh3 parses like a browser and writes every element closed, so that the filter below needs no error recovery.
    closed = nh3.clean(
        html,
        tags=set(_TAGS),
        clean_content_tags=set(_DROPPED_WITH_CONTENT),
        attributes={"*": {"style", "hidden", "color", "bgcolor", "aria-hidden"}, "a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        strip_comments=True,
        link_rel=None,
    )
    visible = _VisibleOnly()
    visible.feed(closed)
    visible.close()
    converter = html2text.HTML2Text(bodywidth=0)
    converter.ignore_images = True
    converter.unicode_snob = True
    converter.ignore_tables = True
    converter.single_line_break = True
    return clean_text(converter.handle("".join(visible.pieces)))


@dataclass(frozen=True)
class _Element:
    """An open element."""

    has_background: bool
    """Something but the white page lies behind its text."""
    written: bool


class _VisibleOnly(HTMLParser):
    """Copies markup, without elements that a style or attribute of their own hides; of what is nested deeper than
    `MAX_NESTING` only the text. Closing tags match: nh3 wrote them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[str] = []
        self._hidden_depth = 0
        self._open = [_Element(has_background=False, written=False)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            self._write(f"<{tag}>")
            return
        known = {name: (value or "").lower() for name, value in attrs}
        style = re.sub(r"\s+", "", known.get("style", ""))
        background = bool(_BACKGROUND.search(style) or known.get("bgcolor")) or self._open[-1].has_background
        if self._hidden_depth or _hides(known, style, on_white=not background):
            self._hidden_depth += 1
            self._open.append(_Element(background, written=False))
            return
        written = len(self._open) <= MAX_NESTING
        self._open.append(_Element(background, written))
        if not written:
            return
        target = dict(attrs).get("href") if tag == "a" else None
        self._write(f'<a href="{_quoted(target)}">' if target else f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        element = self._open.pop() if len(self._open) > 1 else self._open[0]
        if self._hidden_depth:
            self._hidden_depth -= 1
        elif element.written:
            self._write(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._write(data)

    def handle_entityref(self, name: str) -> None:
        self._write(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._write(f"&#{name};")

    def _write(self, piece: str) -> None:
        if not self._hidden_depth:
            self.pieces.append(piece)


def _hides(attributes: dict[str, str], style: str, *, on_white: bool) -> bool:
    if "hidden" in attributes or _HIDING_STYLE.search(style):
        return True
    match = _COLOR.search(style)
    color = match[1] if match else attributes.get("color", "").replace(" ", "")
    own = _BACKGROUND.search(style)
    if own is not None and color and own[1] == color:
        return True
    return on_white and color in _WHITE


def _quoted(value: str) -> str:
    return value.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
