"""Host and path patterns with `*` and `?`. `*` crosses dots and slashes, as Python's fnmatch does."""

import fnmatch
import re
from dataclasses import dataclass, field

from airut_egress.names import MAX_NAME_LENGTH, BadName, canonical_host, is_address_literal
from airut_egress.paths import DecodedPath, without_parameters

_WILD_LABEL = re.compile(r"[a-z0-9_*?-]+", re.ASCII)
_WILDCARD = re.compile(r"[*?\[]")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}", re.ASCII)
# `?` is a wildcard; followed by `name=` it was meant to begin a query (field notes 58).
_QUERY = re.compile(r"\?[A-Za-z0-9_.-]+=", re.ASCII)
_NEVER_MATCHED = re.compile(r"//|\\|/\.{1,2}(?:/|$)")


class BadPattern(ValueError):
    """A pattern that could never match, or not what its author meant; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class HostPattern:
    """A canonical host pattern. `*.example.com` does not match `example.com`."""

    text: str
    _regex: re.Pattern[str] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, raw: str) -> "HostPattern":
        """Read a pattern as a person wrote it: any case, a trailing dot, internationalized labels.

        Raises:
            BadPattern: not a host pattern: an address, a URL, a port, a character class, an empty label.
        """
        text = _canonical_pattern(raw)
        return cls(text, re.compile(fnmatch.translate(text)))

    @property
    def is_exact(self) -> bool:
        """Whether it names one host."""
        return not _has_wildcard(self.text)

    def matches(self, host: str) -> bool:
        """Whether a canonical host fits."""
        return self._regex.match(host) is not None

    def overlaps(self, other: "HostPattern") -> bool:
        """Whether some text fits both patterns."""
        if self.is_exact:
            return other.matches(self.text)
        return self.matches(other.text) if other.is_exact else _overlap(self.text, other.text)


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern on the percent-decoded path; the empty one is every path, ambiguous ones included."""

    text: str
    head: str
    """What every matching path begins with: the pattern up to its first wildcard."""
    segment: str
    """A whole segment behind the head that every matching path has; empty when none is known."""
    _regex: re.Pattern[str] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, raw: str) -> "PathPattern":
        """Read a path pattern.

        Raises:
            BadPattern: it could never match a decoded path.
        """
        if raw and raw[0] not in "/*?[":
            raise BadPattern(
                "a path pattern begins with a slash, as in '/api/*'; an empty one means every path"
            )
        if _ESCAPE.search(raw):
            raise BadPattern(
                "path patterns are matched on the percent-decoded path: write the character itself"
            )
        if _QUERY.search(raw):
            raise BadPattern("the query is not part of the path: end the pattern before the '?'")
        if not raw.isprintable() or _NEVER_MATCHED.search(raw):
            raise BadPattern(
                "no request can match this path: control characters, backslashes, '//', '.' and '..' segments "
                "are never allowed by a path rule"
            )
        head = _WILDCARD.split(raw, maxsplit=1)[0]
        return cls(raw, head, _literal_segment(raw[len(head) :]), re.compile(fnmatch.translate(raw)))

    @property
    def is_everything(self) -> bool:
        """Whether the path plays no part in the decision."""
        return not self.text

    def matches(self, path: DecodedPath) -> bool:
        """Whether an unambiguous path fits, also as servers read it that cut `;…` from segments."""
        if self.is_everything:
            return True
        if path.ambiguous is not None or self._regex.match(path.text) is None:
            return False
        if ";" not in path.text or ";" in self.text:
            return True
        return self._regex.match(without_parameters(path.text)) is not None


def _canonical_pattern(raw: str) -> str:
    text = raw.strip()
    if not text:
        raise BadPattern("a host pattern is not empty; '*' means every host")
    if "/" in text:
        raise BadPattern("a host pattern is a host name, as in 'api.example.com', not a URL or path")
    if "[" in text and ":" not in text:
        raise BadPattern("host patterns know '*' and '?', not character classes")
    if is_address_literal(text):
        raise BadPattern("a host pattern is a host name without a port; addresses cannot be allowed")
    if len(text) > MAX_NAME_LENGTH:
        raise BadPattern(f"a host pattern is not longer than {MAX_NAME_LENGTH} characters")
    if not _has_wildcard(text):
        try:
            return canonical_host(text)
        except BadName as problem:
            raise BadPattern(f"not a host name: {problem}") from None
    return ".".join(_canonical_label(label) for label in text.removesuffix(".").split("."))


def _canonical_label(label: str) -> str:
    if label and not _has_wildcard(label):
        try:
            return canonical_host(f"{label}.x").removesuffix(".x")  # a label of digits alone is no address
        except BadName as problem:
            raise BadPattern(f"not a host pattern: {problem}") from None
    if _WILD_LABEL.fullmatch(label.lower()) is None:
        raise BadPattern(
            "a host pattern is made of labels of letters, digits, '-', '_', '*' and '?', as in '*.example.com'"
        )
    return label.lower()


def _has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


def _literal_segment(rest: str) -> str:
    """The longest segment without a wildcard, of what stands in a path pattern from its first wildcard on."""
    # A class may hold a slash, so nothing from the first one on is certain.
    certain, bracket, _ = rest.partition("[")
    segments = certain.split("/")[1 : -1 if bracket else None]
    return max((one for one in segments if not _has_wildcard(one)), key=len, default="")


def _overlap(left: str, right: str) -> bool:
    # One row per character of `left`: whether it, up to there, and `right`, up to j, have a text in common.
    row = [not right[:j].strip("*") for j in range(len(right) + 1)]
    for one in left:
        above, row = row, [row[0] and one == "*"]
        for j, other in enumerate(right):
            if "*" in (one, other):
                row.append(above[j + 1] or row[j])
            else:
                row.append(above[j] and (one == other or "?" in (one, other)))
    return row[-1]
