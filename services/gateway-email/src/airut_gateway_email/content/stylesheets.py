"""Pure: the rules of `<style>` elements -> style attributes of the elements that they match, in the words of `styles`.

css-inline knows selectors, specificity and `!important`. Before it come: sheets and elements as a browser's parser
finds them (nh3), rules that concern no text left out, conditions of `@media` judged. It never sees a URL.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape
from html.parser import HTMLParser
from typing import Any, Final, override

import css_inline
import nh3
import tinycss2
import tinycss2.nth

from airut_gateway_email.content.styles import Effect, effects, plain_style

MAX_SHEET = 256 * 1024
MAX_MATCHES = 4_000_000
"""Elements times simple selectors: what the library may have to compare, about a second."""
MAX_WALKS = 1_000_000_000
"""The same for selectors that look through siblings or descendants: with the square of the elements."""
MAX_DEPTH = 500
"""The library calls itself for each level, and an overflow of its stack at some 10,000 would end the process."""

VOID: Final = frozenset(
    {"area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "image", "img", "input", "keygen",
     "link", "meta", "param", "source", "track", "wbr"}
)  # fmt: skip
_OUTER = frozenset({"html", "head", "body", "frameset"})
_RAW = frozenset({"plaintext", "xmp"})
"""Shown as they are, tags and all."""
_STYLE = re.compile(r"<style", re.IGNORECASE)
#: Characters as HTML knows them: another blank, or a letter that is only like one of these, is part of a name.
_DOCUMENT = re.compile(r"<(html|body)(?![^\t\n\f\r />])", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r"</?(?=([a-zA-Z][^\t\n\f\r />]*))")
_LEVEL = re.compile(r"<(/?)([a-zA-Z][^\t\n\f\r />]*)")
_IMPLIED = frozenset({"p", "tbody", "tr", "colgroup"})
_MARK = "airut-"
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9:_.-]*")

_REWRITTEN = frozenset({"href", "rel", "style"})
"""Attributes that are not left as they were."""
_CSS_TYPES = frozenset({"", "text/css"})
_STATES = frozenset({"hover", "active", "focus", "visited", "link"})
#: Of a moment in which nobody reads; the library takes such a rule for one that matches nothing.
_NEVER_TRUE = frozenset(
    {
        "focus-within",
        "focus-visible",
        "target",
        "-moz-placeholder",
        "-ms-input-placeholder",
        "-webkit-autofill",
    }
)
_POSITIONS = frozenset(
    {
        "first-child",
        "last-child",
        "only-child",
        "first-of-type",
        "last-of-type",
        "only-of-type",
        "root",
        "empty",
    }
)
_FUNCTIONS = frozenset({"not", "has", "nth-child", "nth-last-child", "nth-of-type", "nth-last-of-type"})
_PSEUDO_ELEMENTS = frozenset({"before", "after", "first-line", "first-letter"})
_NO_RULES = frozenset(
    {"import", "charset", "namespace", "font-face", "page", "keyframes", "-webkit-keyframes", "-moz-keyframes",
     "-o-keyframes", "property", "counter-style", "font-feature-values", "font-palette-values", "view-transition",
     "viewport", "-ms-viewport", "-o-viewport"}
)  # fmt: skip


_ASKED = re.compile(r" *[ij] *(?:= *[ijs] *(?:j *)?)?")
_BLANKS = re.compile(r"[ \t\n\r\f]+")
_NO_SCREEN = re.compile(
    r"(?:only )?(?:print|speech|aural|braille|embossed|handheld|projection|tty|tv)(?![^ ])"
)
_DARK = re.compile(r"prefers-color-scheme ?: ?dark")

#: Selectors in the letters of `_shape`, as every browser reads them; the library would read some others as well.
_COMPOUND = r"(?=[in.*\[:])[i*]?(?:n|\.i|\[|::?[if])*"
_SELECTORS = re.compile(rf" *{_COMPOUND}(?:(?: *[,>+~] *| +){_COMPOUND})* *")


class TooIntricateError(Exception):
    """What a person sees of this HTML cannot be told."""


class _When(Enum):
    """Whether a rule counts on an ordinary screen."""

    ALWAYS = 1
    SOMETIMES = 2
    """It depends on the window or the program: what it hides counts, for a person may not have seen it, and what
    it shows does not."""
    IN_THE_DARK = 3
    """The same, but colours do not count: ours are those of a white page."""
    NEVER = 4


@dataclass(frozen=True)
class _Rule:
    """Selectors, and what they do."""

    selectors: str
    effects: Sequence[Effect]

    @property
    def hiding(self) -> Sequence[Effect]:
        """Those that may take text away."""
        return [effect for effect in self.effects if effect.hides or effect.is_colour]


@dataclass
class _Rules:
    """What is left of the sheets."""

    css: list[str]
    attributes: set[str]
    selectors: int = 0
    walks: int = 0
    odd: bool = False
    """There is a name that not every browser knows; the others pass over the whole rule, and the library does not."""


def has_stylesheet(html: str) -> bool:
    return _STYLE.search(html) is not None


def inline_stylesheets(html: str, *, attributes: set[str], dropped: frozenset[str]) -> str | None:
    """The whole document with closed elements, whose style attributes say what attributes and style sheets do; `None`
    if no rule concerns text.

    Raises:
        TooIntricateError: the sheets cannot be applied within bounds, or use what the library does not know.
    """
    document = _Document()
    document.feed(
        nh3.clean(
            _DOCUMENT.sub(rf"<{_MARK}\1", html),
            tags={"style", f"{_MARK}html", f"{_MARK}body"},
            clean_content_tags=set(dropped - {"style"}),
            attributes={
                "style": {"media", "type"},
                f"{_MARK}html": {"class", "id", "lang", *attributes},
                f"{_MARK}body": {"class", "id", "lang", *attributes},
            },
            attribute_filter=_filtered,
            link_rel=None,
        )
    )
    document.close()
    rules = _rules(document.sheets)
    if not rules.css:
        return None
    names = _names(html) - dropped
    if names & _RAW:
        raise TooIntricateError
    body = nh3.clean(
        html,
        tags=names - _OUTER,
        clean_content_tags=set(dropped),
        attributes={
            "*": {"class", "id", "lang", *attributes, *rules.attributes - {"href", "rel"}},
            "a": {"href"},
        },
        attribute_filter=_filtered,
        url_schemes={"http", "https", "mailto"},
        link_rel=None,
    )
    _check_size(body, rules)
    whole = f"<!DOCTYPE html><html{document.attributes['html']}><body{document.attributes['body']}>{body}"
    inliner = css_inline.CSSInliner(
        inline_style_tags=False, load_remote_stylesheets=False, extra_css="\n".join(rules.css)
    )
    try:
        inlined = inliner.inline(whole)
    except css_inline.InlineError as error:
        raise TooIntricateError from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a panic in Rust is no Exception
            raise
        raise TooIntricateError from error
    # Some trees, as of links in links, are others when they are parsed again: text would leave what hides it.
    if _LEVEL.findall(inlined)[4:-2] != _LEVEL.findall(body):
        raise TooIntricateError
    return inlined


def _filtered(_tag: str, name: str, value: str) -> str:
    return plain_style(value) if name == "style" else value


def _names(html: str) -> set[str]:
    """Of all elements that there may be: a selector can name any."""
    found = {match[1].replace("\0", "\ufffd") for match in _TAG.finditer(html)}
    return {*_IMPLIED, *(name.encode("utf-8", "replace").lower().decode() for name in found)}


def _check_size(body: str, rules: _Rules) -> None:
    depth = elements = 0
    for found in _LEVEL.finditer(body):
        if found[1]:
            depth -= 1
        else:
            elements += 1
            depth += found[2] not in VOID
        if depth > MAX_DEPTH:
            raise TooIntricateError
    if elements * rules.selectors > MAX_MATCHES or elements * elements * rules.walks > MAX_WALKS:
        raise TooIntricateError


class _Document(HTMLParser):
    """The sheets of a document, and the attributes of its two outer elements."""

    def __init__(self) -> None:
        super().__init__()
        self.sheets: list[tuple[str, str]] = []
        self.attributes = {"html": "", "body": ""}
        self._media: str | None = None

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "style":
            known = {name: (value or "").lower() for name, value in attrs}
            self._media = known.get("media", "") if known.get("type", "") in _CSS_TYPES else None
        elif tag.startswith(_MARK):
            written = "".join(f' {name}="{escape(value or "")}"' for name, value in attrs)
            self.attributes[tag.removeprefix(_MARK)] += written  # of two alike the first counts, as in HTML

    @override
    def handle_endtag(self, tag: str) -> None:
        self._media = None

    @override
    def handle_data(self, data: str) -> None:
        if self._media is not None:
            self.sheets.append((self._media, data))


def _rules(sheets: Sequence[tuple[str, str]]) -> _Rules:
    if sum(len(text) for _, text in sheets) > MAX_SHEET:
        raise TooIntricateError
    found = _Rules([], set())
    try:
        for media, text in sheets:
            nodes = tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True)
            when = _when(media)
            for rule in _flat(nodes, "", when):
                _add(rule, found)
    except RecursionError:
        raise TooIntricateError from None
    return found


def _add(rule: _Rule, found: _Rules) -> None:
    noted = _Rules([], set())
    tokens = tinycss2.parse_component_value_list(rule.selectors, skip_comments=True)
    try:
        if not _note_selectors(tokens, noted):
            return
    except TooIntricateError:
        if rule.hiding:
            raise
        return
    if noted.attributes & _REWRITTEN and any(effect.hides for effect in rule.effects):
        raise TooIntricateError
    declarations = ";".join(map(str, rule.hiding if noted.odd else rule.effects))
    found.css.append(f"{rule.selectors}{{{declarations}}}")
    found.attributes |= noted.attributes
    found.selectors += noted.selectors
    found.walks += noted.walks


def _flat(nodes: Sequence[Any], outer: str, when: _When) -> Iterator[_Rule]:
    """Rules that do something to text; `outer` is the selector around them."""
    if when is _When.NEVER:
        return
    if outer:
        kept = [
            effect
            for effect in effects(nodes)
            if when is _When.ALWAYS or effect.hides or (effect.is_colour and when is _When.SOMETIMES)
        ]
        if kept:
            yield _Rule(outer, kept)
    for node in nodes:
        if node.type == "qualified-rule":
            inner = tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True)
            if outer:  # a rule in a rule, newer than the library
                if any(rule.hiding for rule in _flat(inner, "x", when)):
                    raise TooIntricateError
                continue
            yield from _flat(inner, tinycss2.serialize(node.prelude) or "?", when)
        elif node.type == "at-rule" and node.content is not None and node.lower_at_keyword not in _NO_RULES:
            inner = tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True)
            yield from _flat(inner, outer, _both(when, _condition(node)))


def _condition(node: Any) -> _When:
    if node.lower_at_keyword == "media":
        return _when(tinycss2.serialize(node.prelude).lower())
    return _When.SOMETIMES


def _both(one: _When, other: _When) -> _When:
    return max(one, other, key=lambda when: when.value)


def _when(media: str) -> _When:
    """By the most likely of the queries."""
    queries = [_BLANKS.sub(" ", query).strip(" ") for query in media.split(",")]
    return min((_query(query) for query in queries), key=lambda when: when.value)


def _query(query: str) -> _When:
    if query in ("", "all", "screen", "only all", "only screen"):
        return _When.ALWAYS
    if _NO_SCREEN.match(query):
        return _When.NEVER
    is_dark = _DARK.search(query) and "not" not in query
    return _When.IN_THE_DARK if is_dark else _When.SOMETIMES


def _shape(tokens: Sequence[Any]) -> str:
    """One letter for each token."""
    letters = {"ident": "i", "function": "f", "[] block": "[", "whitespace": " ", "string": "s"}
    return "".join(
        one.value
        if one.type == "literal" and one.value in ".*:,>+~"
        else "n"
        if one.type == "hash" and one.is_identifier
        else letters.get(one.type, "?")
        for one in tokens
    )


def _note_selectors(
    tokens: Sequence[Any], found: _Rules, *, negated: bool = False, relative: bool = False
) -> bool:
    """Count what must be compared, note attributes that are asked for, and refuse what the library passes over.
    False if they are no selectors at all."""
    if any(one in ("|", "&") for one in tokens):
        raise TooIntricateError
    shape = _shape(tokens)
    if relative:  # div:has(> p)
        shape = re.sub(r"^ *[>+~]", "", shape)
    if not _SELECTORS.fullmatch(shape):
        return False
    colons = 0
    for one in tokens:
        before, colons = colons, colons + 1 if one == ":" else 0
        if one.type in ("ident", "hash", "[] block", "function") or one == "*":
            found.selectors += 1
        if one.type == "[] block":
            if not _note_attribute(one.content, found):
                return False
        elif one == "~":
            found.walks += 1
        elif before and one.type == "ident":
            _check_pseudo_class(one.lower_value, found, is_element=before == 2, negated=negated)
        elif before == 2:
            found.odd = True
        elif before == 1 and one.type == "function" and not _check_function(one, found, negated=negated):
            return False
    return True


def _check_pseudo_class(name: str, found: _Rules, *, is_element: bool, negated: bool) -> None:
    if name in _STATES and not is_element:
        return
    if is_element or name in _PSEUDO_ELEMENTS or (name in _NEVER_TRUE and not negated):
        found.odd = True
        return
    if name not in _POSITIONS:
        raise TooIntricateError
    found.walks += name.endswith("-of-type")


def _check_function(function: Any, found: _Rules, *, negated: bool) -> bool:
    if function.lower_name not in _FUNCTIONS:
        raise TooIntricateError
    if function.lower_name.startswith("nth"):
        if any(one.type == "ident" and one.lower_value == "of" for one in function.arguments):
            raise TooIntricateError
        if tinycss2.nth.parse_nth(function.arguments) is None:
            return False
        found.walks += 1
        return True
    before = found.walks
    negated, relative = negated or function.lower_name == "not", function.lower_name == "has"
    valid = _note_selectors(function.arguments, found, negated=negated, relative=relative)
    if relative:
        if found.walks > before:
            raise TooIntricateError  # a walk at each step of a walk
        found.walks += 1
    return valid


def _note_attribute(content: Sequence[Any], found: _Rules) -> bool:
    equals, flags = ("=", "~=", "|=", "^=", "$=", "*="), ("i", "s")
    shape = "".join(
        "=" if one in equals else "j" if one.type == "ident" and one.lower_value in flags else _shape([one])
        for one in content
    )
    if not _ASKED.fullmatch(shape):
        return False
    name = next(one.lower_value for one in content if one.type == "ident")
    if not _ATTRIBUTE.fullmatch(name) or name == "data-css-inline":
        raise TooIntricateError
    found.attributes.add(name)
    return True
