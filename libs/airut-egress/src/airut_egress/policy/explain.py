"""What the policy says of one request, for people: which rule allows it, or which obstacle is in the way."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from airut_egress.denial import MESSAGES
from airut_egress.names import AddressLiteral, BadName, canonical_host
from airut_egress.ports import default_port

from .decide import RequestFacts, decide
from .graphql import judge
from .model import Policy

#: What a URL keeps as it is; everything else goes out percent-encoded, as clients send it (RFC 3986 §3.3).
_KEPT: Final = "/%:@!$&'()*+,;=~?-._"


class BadUrl(ValueError):
    """Not a URL of a request; the message says why."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict in words."""

    allow: bool
    rule: str
    """The rule that allows; empty when denied."""
    obstacle: str
    """As events and denials call it; empty when allowed."""
    text: str
    """One line: what is allowed, or what is in the way."""


def explain(policy: Policy, method: str, url: str, *, body: bytes | None = None) -> Explanation:
    """Judge a request as the proxy does. `body`: JSON of a GraphQL request, where rules want to see it.

    Raises:
        BadUrl: it is not one.
    """
    parts, port = _split(url)
    try:
        host = canonical_host(parts.hostname or "")
    except AddressLiteral:
        return _denied("literal", MESSAGES["literal"])
    except BadName as problem:
        raise BadUrl(f"{url!r}: {problem}") from None
    target = quote(parts.path or "/", safe=_KEPT) + (
        f"?{quote(parts.query, safe=_KEPT)}" if parts.query else ""
    )
    facts = RequestFacts(method, parts.scheme, host, port, target.encode("ascii"))
    decision = decide(facts, policy)
    if decision.allow:
        return Explanation(allow=True, rule=decision.rule, obstacle="", text=decision.reason)
    if not decision.graphql:
        return _denied(decision.obstacle, f"{MESSAGES[decision.obstacle]} ({decision.reason})")
    if body is None:
        return _graphql_denied("it depends on the operation: give the request's JSON body")
    names, rules = zip(*decision.graphql, strict=True)
    verdict = judge(
        rules,
        method=method.upper(),
        raw_target=facts.raw_path,
        content_type="application/json",
        content_encoding="",
        body=body,
    )
    if verdict.position is None:
        return _graphql_denied(verdict.reason)
    name = names[verdict.position]
    return Explanation(allow=True, rule=name, obstacle="", text=f"allowed by {name}")


def _graphql_denied(reason: str) -> Explanation:
    return _denied("graphql", f"{MESSAGES['graphql']} ({reason})")


def _split(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadUrl(f"{url!r} is not a URL: {error}") from None
    standard = default_port(parts.scheme)
    if standard is None or not parts.hostname:
        raise BadUrl(f"{url!r} is not a URL such as https://api.example.org/path")
    return parts, port or standard


def _denied(obstacle: str, text: str) -> Explanation:
    return Explanation(allow=False, rule="", obstacle=obstacle, text=text)
