"""Pure: the grammar of Authentication-Results (RFC 8601 §2.2), read by one pass over its characters.

Semicolons, comments and quoted strings divide the text, wherever they stand; nothing within them does. Beyond the RFC
it takes what large receivers write, and none of it can carry a result:

- a value may have any printable characters but space, `;`, `(`, `)`, `"` and `\\`: Google writes `header.b=Qx/9a+`;
- a property may lack its type: Microsoft 365 writes `action=none`, Fastmail `x-bits=2048` and `score=0`. Its name must
  not be that of a method, so that a forgotten semicolon hides no result;
- names may contain underscores, and one semicolon may end the field;
- values and comments may have characters beyond ASCII (RFC 8616 §3).
"""

import re
from dataclasses import dataclass

MAX_LENGTH = 8 * 1024
MAX_RESULTS = 100

_SPACE = re.compile(r"[ \t]+")
_TOKEN = re.compile(r"[!#$%&'*+.0-9A-Z^_`a-z{|}~-]+")  # RFC 2045: no tspecials
_KEYWORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_LOOSE = re.compile(r"[!#-'*-:<-\[\]-~\x80-\U0010ffff]+")
_DIGITS = re.compile(r"[0-9]+")
METHODS = frozenset(
    {"auth", "dkim", "dkim-atps", "dmarc", "domainkeys", "arc", "iprev", "spf", "sender-id", "vbr"}
)


class BadResults(ValueError):
    """Not an Authentication-Results value; the text says why."""


@dataclass(frozen=True)
class Property:
    """`ptype.property=value`; the type is empty where a receiver leaves it out. Both names are in lower case."""

    ptype: str
    name: str
    value: str


@dataclass(frozen=True)
class MethodResult:
    """What one method found, in lower case."""

    method: str
    result: str
    reason: str | None = None
    properties: tuple[Property, ...] = ()

    def values(self, ptype: str, name: str) -> list[str]:
        """Values of one property."""
        return [item.value for item in self.properties if (item.ptype, item.name) == (ptype, name)]


@dataclass(frozen=True)
class AuthResults:
    """One header field."""

    authserv_id: str
    """Empty only if `without_id` was asked for."""
    results: tuple[MethodResult, ...]


def read_authserv_id(text: str) -> str | None:
    """Who claims to have written a value; None when that cannot be read or is of an unknown version."""
    try:
        return _Reader(text).server()
    except BadResults:
        return None


def read_instance(text: str) -> tuple[str, str] | None:
    """The digits of `i=` in front of ARC-Authentication-Results (RFC 8617 §4.1.1), and what follows its semicolon."""
    try:
        return _Reader(text).instance()
    except BadResults:
        return None


def parse_results(text: str, *, without_id: bool = False) -> AuthResults:
    """Read a whole value, unfolded.

    Args:
        text: The value.
        without_id: It begins with its first result, as Microsoft 365 writes.

    Raises:
        BadResults: it does not follow the grammar.
    """
    if len(text) > MAX_LENGTH:
        raise BadResults("it is too long")
    reader = _Reader(text)
    if without_id:
        return AuthResults("", reader.results(first=True))
    return AuthResults(reader.server(), reader.results(first=False))


class _Reader:
    def __init__(self, text: str) -> None:
        if not text.replace("\t", " ").isprintable():
            raise BadResults("it has unprintable characters")
        self._text = text
        self._at = 0

    def server(self) -> str:
        self._skip()
        name = self._value()
        self._skip()
        version = self._match(_DIGITS)
        self._skip()
        if version not in (None, "1") or self._peek() not in (";", ""):
            raise BadResults("its server or version is malformed")
        return name

    def instance(self) -> tuple[str, str] | None:
        self._skip()
        if not self._take("i"):
            return None
        self._skip()
        self._expect("=")
        digits = self._match(_DIGITS)
        self._skip()
        if digits is None or not self._take(";"):
            return None
        return digits, self._text[self._at :]

    def results(self, *, first: bool) -> tuple[MethodResult, ...]:
        found: list[MethodResult] = []
        if first:
            found.append(self._result())
        while self._take(";"):
            self._skip()
            if not self._peek() and found:
                break  # a semicolon at the end
            if not found and self._is_none():
                return ()
            found.append(self._result())
            if len(found) > MAX_RESULTS:
                raise BadResults("it has too many results")
        if self._peek() or not found:
            raise BadResults("it ends in something else")
        return tuple(found)

    def _is_none(self) -> bool:
        start = self._at
        word = self._match(_KEYWORD)
        self._skip()
        if word is not None and word.lower() == "none" and not self._peek():
            return True
        self._at = start
        return False

    def _result(self) -> MethodResult:
        self._skip()
        method = self._keyword()
        self._skip()
        if self._take("/"):
            self._skip()
            if self._match(_DIGITS) != "1":
                raise BadResults("a method has an unknown version")
            self._skip()
        self._expect("=")
        result = self._keyword()
        self._skip()
        reason, properties = self._properties()
        return MethodResult(method, result, reason, properties)

    def _properties(self) -> tuple[str | None, tuple[Property, ...]]:
        reason: str | None = None
        properties: list[Property] = []
        while self._peek() not in (";", ""):
            name, ptype = self._keyword(), ""
            self._skip()
            if self._take("."):
                self._skip()
                ptype, name = name, self._keyword()
                self._skip()
            self._expect("=")
            value = self._property_value()
            if ptype or name != "reason":
                if not ptype and name in METHODS:
                    raise BadResults("a result is not separated from the one before")
                properties.append(Property(ptype, name, value))
            elif reason is None and not properties:
                reason = value
            else:
                raise BadResults("a reason is out of place")
            self._skip()
        return reason, tuple(properties)

    def _property_value(self) -> str:
        """§2.2 `pvalue`, loosely: quoted strings and runs of characters without space between them."""
        pieces: list[str] = []
        while True:
            piece = self._quoted() if self._peek() == '"' else self._match(_LOOSE)
            if piece is None:
                break
            pieces.append(piece)
        if not pieces:
            raise BadResults("a value is missing")
        return "".join(pieces)

    def _value(self) -> str:
        value = self._quoted() if self._peek() == '"' else self._match(_TOKEN)
        if not value:
            raise BadResults("a name is missing")
        return value

    def _quoted(self) -> str:
        self._at += 1
        pieces: list[str] = []
        while (character := self._next()) != '"':
            pieces.append(self._next() if character == "\\" else character)
        return "".join(pieces)

    def _keyword(self) -> str:
        word = self._match(_KEYWORD)
        if word is None:
            raise BadResults("a name is malformed")
        return word.lower()

    def _skip(self) -> None:
        """White space and comments, nested ones too."""
        while True:
            self._match(_SPACE)
            if self._peek() != "(":
                return
            depth = 0
            while True:
                character = self._next()
                if character == "\\":
                    self._next()
                depth += {"(": 1, ")": -1}.get(character, 0)
                if not depth:
                    break

    def _expect(self, character: str) -> None:
        if not self._take(character):
            raise BadResults(f"{character!r} is missing")
        self._skip()

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._at += 1
        return True

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise BadResults("a comment or a quoted string has no end")
        self._at += 1
        return character
