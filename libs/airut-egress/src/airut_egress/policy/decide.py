"""The decision: a pure function of request facts and policy whose last branch denies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from airut_egress.paths import decode_path
from airut_egress.ports import STANDARD_PORTS, Scheme

from .graphql import GraphqlRule
from .model import HostRules, Policy, Rule

Obstacle = Literal["", "host", "path", "method", "graphql", "ambiguous-path", "port", "scheme"]


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What is judged. The caller has already made sure that SNI, Host and URL agree."""

    method: str
    scheme: str
    """`http` or `https`: how the sandbox speaks to us and we to the upstream."""
    host: str
    """As `names.canonical_host` gives it."""
    port: int
    raw_path: bytes
    """The origin-form request target as received; a query in it plays no part."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Allow or deny, and why."""

    allow: bool
    rule: str
    """The rule that allowed; empty when denied."""
    obstacle: Obstacle
    """What was in the way; empty when allowed."""
    reason: str
    """One line for people, without anything the sandbox sent."""
    by_method: bool = False
    """The rule that allowed depends on the method, so nothing may override it on the way."""
    by_path: bool = False
    """The rule that allowed depends on the path."""
    graphql: tuple[tuple[str, GraphqlRule], ...] = ()
    """On a denial: rules with their names that may yet allow, when the body is here. They are tried in order."""


def decide(facts: RequestFacts, policy: Policy, ports: Mapping[int, Scheme] = STANDARD_PORTS) -> Decision:
    """Judge a request; the first rule that allows wins. `ports`: those that are open."""
    if facts.port not in ports:
        return _denied("port", f"only these ports leave the sandbox: {', '.join(map(str, sorted(ports)))}")
    if ports[facts.port] != facts.scheme:
        return _denied("scheme", f"port {facts.port} is for {ports[facts.port]}")
    rules = policy.rules_for(facts.host)
    if not rules.rules:
        return _denied("host", "no rule names this host")
    return _judge_rules(facts, rules)


def _judge_rules(facts: RequestFacts, rules: HostRules) -> Decision:
    path = decode_path(facts.raw_path)
    # Upper case makes ASCII of some other letters: only what is ASCII already can be a method of a rule.
    method = facts.method.upper() if facts.method.isascii() else ""
    fitting = rules.matching(path)
    graphql: list[tuple[str, GraphqlRule]] = []
    for rule in fitting:
        if rule.methods is not None and method not in rule.methods:
            continue
        if rule.graphql is None:
            return _allowed(rule)
        graphql.append((rule.name, rule.graphql))
    if graphql:
        return Decision(
            allow=False,
            rule="",
            obstacle="graphql",
            reason="a rule allows some GraphQL operations here",
            by_method=True,
            by_path=True,
            graphql=tuple(graphql),
        )
    # The obstacle of the rule that came furthest is what the person who edits the file wants to know.
    if fitting:
        return _denied("method", "a rule allows this host and path, but not with this method")
    if path.ambiguous is not None:
        return _denied(
            "ambiguous-path", f"servers could read this path in more than one way: {path.ambiguous}"
        )
    return _denied("path", "rules name this host, but none of them this path")


def _allowed(rule: Rule) -> Decision:
    return Decision(
        allow=True,
        rule=rule.name,
        obstacle="",
        reason=f"allowed by {rule.name}",
        by_method=rule.methods is not None,
        by_path=not rule.path.is_everything,
    )


def _denied(obstacle: Obstacle, reason: str) -> Decision:
    return Decision(allow=False, rule="", obstacle=obstacle, reason=reason)
