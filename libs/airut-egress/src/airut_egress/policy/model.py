"""The allowlist file: strict models, and the policy compiled from them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from airut_common.config.base import StrictModel
from airut_common.config.yamlfile import load_yaml_model
from airut_egress.paths import DecodedPath

from .graphql import GraphqlRule
from .patterns import BadPattern, HostPattern, PathPattern

_MAX_KNOWN_HOSTS: Final = 1024
_METHOD: Final = re.compile(r"[A-Za-z][A-Za-z-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the file."""

    name: str
    """For people and events: `domains[0] *.example.com`."""
    host: HostPattern
    path: PathPattern
    methods: frozenset[str] | None
    """Upper case; None means all."""
    graphql: GraphqlRule | None = None
    """Only GraphQL requests that it allows."""


@dataclass(frozen=True, slots=True)
class HostRules:
    """The rules for one host in order, found by two literal parts of their paths: the beginning, and a segment."""

    rules: tuple[Rule, ...]
    by_head: Mapping[int, Mapping[str, Mapping[str, Sequence[int]]]]
    """Length of a path pattern's literal beginning, to that beginning, to a segment, to positions in `rules`. Shorter
    beginnings come first."""

    @classmethod
    def index(cls, rules: tuple[Rule, ...]) -> Self:
        """Index rules; their order is kept."""
        by_head: dict[int, dict[str, dict[str, list[int]]]] = {}
        for position, rule in enumerate(rules):
            head, segment = rule.path.head, rule.path.segment
            by_segment = by_head.setdefault(len(head), {}).setdefault(head, {})
            by_segment.setdefault(segment, []).append(position)
        return cls(rules, dict(sorted(by_head.items())))

    def matching(self, path: DecodedPath) -> list[Rule]:
        """The rules whose path pattern fits, in order."""
        segments = {"", *path.text.split("/")}
        positions: list[int] = []
        for size, heads in self.by_head.items():
            if size > len(path.text):
                break
            by_segment = heads.get(path.text[:size], {})
            positions += [position for one in segments for position in by_segment.get(one, ())]
        return [rule for position in sorted(positions) if (rule := self.rules[position]).path.matches(path)]


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in the order they are tried: the entries of `domains`, then those of `url_prefixes`."""

    rules: tuple[Rule, ...]
    _known: dict[str, HostRules] = field(default_factory=dict, repr=False, compare=False)
    """Rules of hosts that were asked for, so that every pattern is tried once per host."""

    def rules_for(self, host: str) -> HostRules:
        """The rules whose host pattern fits a canonical host."""
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _MAX_KNOWN_HOSTS:
                self._known.clear()
            known = HostRules.index(tuple(rule for rule in self.rules if rule.host.matches(host)))
            self._known[host] = known
        return known


def parse_policy(text: str, source: str) -> Policy:
    """Read `network-allowlist.yaml`.

    Raises:
        airut_common.config.yamlfile.ConfigError: every problem with its line; nothing runs on such a file.
    """
    file = load_yaml_model(text, source, PolicyFile)
    everything = PathPattern.parse("")
    domains = tuple(
        Rule(f"domains[{index}] {raw}", HostPattern.parse(raw), everything, None)
        for index, raw in enumerate(file.domains)
    )
    prefixes = tuple(entry.rule(index) for index, entry in enumerate(file.url_prefixes))
    return Policy(domains + prefixes)


def _list_of(expected: str) -> BeforeValidator:
    def check(value: object) -> object:
        if not isinstance(value, list):
            raise _problem(f"expected a list of {expected}; got {_kind(value)}")
        return value

    return BeforeValidator(check)


def _is_block(value: object) -> object:
    if not isinstance(value, dict):
        raise _problem(f"expected a block of queries, mutations or subscriptions; got {_kind(value)}")
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case str():
            return "a string"
        case dict():
            return "a mapping"
        case _:
            return f"{value!r:.40}"


def _problem(text: str) -> PydanticCustomError:
    # The text goes in as a value: it may have braces, which a template would read.
    return PydanticCustomError("policy", "{text}", {"text": text})


def _host(value: str) -> str:
    try:
        HostPattern.parse(value)
    except BadPattern as problem:
        raise _problem(str(problem)) from None
    return value


def _path(value: str) -> str:
    try:
        PathPattern.parse(value)
    except BadPattern as problem:
        raise _problem(str(problem)) from None
    return value


def _method(value: str) -> str:
    if _METHOD.fullmatch(value) is None:
        raise _problem("expected an HTTP method such as GET")
    return value.upper()


def _field(value: str) -> str:
    try:
        GraphqlRule.parse((value,))
    except BadPattern as problem:
        raise _problem(str(problem)) from None
    return value


Host = Annotated[str, AfterValidator(_host)]
Path = Annotated[str, AfterValidator(_path)]
Method = Annotated[str, AfterValidator(_method)]
FieldPattern = Annotated[str, AfterValidator(_field)]
Fields = Annotated[list[FieldPattern], _list_of("names of top-level fields, as in ['repository', 'create*']")]


class GraphqlBlock(StrictModel):
    """The `graphql` of an entry: what it does not list is not allowed."""

    queries: Fields = Field(default_factory=list)
    mutations: Fields = Field(default_factory=list)
    subscriptions: Fields = Field(default_factory=list)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("expected queries, mutations or subscriptions; an empty block is a mistake")
        return self

    def rule(self) -> GraphqlRule:
        """The compiled block."""
        return GraphqlRule.parse(self.queries, self.mutations, self.subscriptions)


class UrlPrefix(StrictModel):
    """An entry of `url_prefixes`."""

    host: Host
    path: Path
    methods: Annotated[list[Method], _list_of("HTTP methods, as in [GET, HEAD]")] = Field(
        default_factory=list
    )
    graphql: Annotated[GraphqlBlock | None, BeforeValidator(_is_block)] = None

    def rule(self, index: int) -> Rule:
        """The compiled entry."""
        return Rule(
            name=f"url_prefixes[{index}] {self.host} {self.path}".rstrip(),
            host=HostPattern.parse(self.host),
            path=PathPattern.parse(self.path),
            methods=frozenset(self.methods) or None,
            graphql=self.graphql.rule() if self.graphql is not None else None,
        )


class PolicyFile(StrictModel):
    """The whole file. An explicit `[]` is a closed list; a key with nothing after it is a mistake."""

    domains: Annotated[list[Host], _list_of("host patterns, as in ['api.example.com']")] = Field(
        default_factory=list
    )
    url_prefixes: Annotated[list[UrlPrefix], _list_of("entries with host and path")] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(
                "expected domains or url_prefixes; an empty file allows nothing and is a mistake"
            )
        return self
