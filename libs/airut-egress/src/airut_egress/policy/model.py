"""The allowlist file: strict models, and the policy compiled from them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from airut_common.config.models import StrictModel
from airut_common.config.yamlfile import load_yaml_model

from .patterns import BadPattern, HostPattern, PathPattern

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


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in the order they are tried, with an index so that a decision looks only at likely ones."""

    rules: tuple[Rule, ...]
    by_host: Mapping[str, tuple[int, ...]]
    """Exact host to the positions of its rules."""
    by_suffix: Mapping[str, tuple[int, ...]]
    """`example.com` to the positions of rules for `*.example.com`."""
    others: tuple[int, ...]
    """Positions of rules whose host pattern has any other shape."""

    @classmethod
    def compile(cls, rules: tuple[Rule, ...]) -> Self:
        """Index rules; their order is kept."""
        by_host: dict[str, list[int]] = {}
        by_suffix: dict[str, list[int]] = {}
        others: list[int] = []
        for position, rule in enumerate(rules):
            if rule.host.is_exact:
                by_host.setdefault(rule.host.text, []).append(position)
            elif suffix := rule.host.suffix:
                by_suffix.setdefault(suffix, []).append(position)
            else:
                others.append(position)
        return cls(rules, _frozen(by_host), _frozen(by_suffix), tuple(others))

    def rules_for(self, host: str) -> list[Rule]:
        """The rules whose host pattern fits a canonical host, in order."""
        found = list(self.by_host.get(host, ()))
        if self.by_suffix:
            rest = host
            while rest := rest.partition(".")[2]:
                found += self.by_suffix.get(rest, ())
        found += (position for position in self.others if self.rules[position].host.matches(host))
        return [self.rules[position] for position in sorted(found)]


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
    return Policy.compile(domains + prefixes)


def _frozen(index: dict[str, list[int]]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(positions) for key, positions in index.items()}


def _list_of(expected: str) -> BeforeValidator:
    def check(value: object) -> object:
        if not isinstance(value, list):
            raise _problem(f"expected a list of {expected}; got {_kind(value)}")
        return value

    return BeforeValidator(check)


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


def _no_graphql(_: object) -> object:
    raise _problem("graphql rules are not supported yet: nothing runs on a file that has them")


Host = Annotated[str, AfterValidator(_host)]
Path = Annotated[str, AfterValidator(_path)]
Method = Annotated[str, AfterValidator(_method)]


class UrlPrefix(StrictModel):
    """An entry of `url_prefixes`."""

    host: Host
    path: Path
    methods: Annotated[list[Method], _list_of("HTTP methods, as in [GET, HEAD]")] = Field(
        default_factory=list
    )
    graphql: Annotated[Any, BeforeValidator(_no_graphql)] = None

    def rule(self, index: int) -> Rule:
        """The compiled entry."""
        return Rule(
            name=f"url_prefixes[{index}] {self.host} {self.path}".rstrip(),
            host=HostPattern.parse(self.host),
            path=PathPattern.parse(self.path),
            methods=frozenset(self.methods) or None,
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
