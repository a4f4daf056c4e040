"""Which requests are judged on their bodies, and what their bodies have to pass. The order is this file's."""

from collections.abc import Sequence
from dataclasses import dataclass

from airut_egress import messages_api
from airut_egress.exchange import Exchange
from airut_egress.inspection import BodyFilter, Denied, Inspection
from airut_egress.policy import Decision, Policy, RequestFacts
from airut_egress.policy.graphql import judge

Header = tuple[bytes, bytes]


def inspection_for(
    facts: RequestFacts, decision: Decision, headers: Sequence[Header], exchange: Exchange, policy: Policy
) -> Inspection | None:
    """What the body of a request has to pass; None when its headers decide alone.

    Raises:
        Denied: the headers say already that the body could not be read.
    """
    if messages_api.starts_agents(facts.host, facts.raw_path) and not decision.by_path:
        raise Denied(
            "server-tool", "agents on the API's side have networks of their own; a rule has to name the path"
        )
    filters: list[BodyFilter] = []
    if messages_api.applies_to(facts.host, facts.raw_path):
        if _only(headers, b"content-encoding").strip().lower() not in {"", "identity"}:
            raise Denied("body", "requests of the Messages API are inspected, and cannot be compressed")
        filters.append(ServerToolFilter(policy, exchange))
    if decision.graphql:
        content_type, coding = _only(headers, b"content-type"), _only(headers, b"content-encoding")
        filters.append(GraphqlFilter(facts, decision, content_type, coding, exchange))
    return Inspection(tuple(filters)) if filters else None


@dataclass(frozen=True, slots=True)
class ServerToolFilter:
    """Keeps Anthropic's servers to what the allowlist opens; whatever rule has allowed the request."""

    policy: Policy
    exchange: Exchange

    def __call__(self, body: bytes) -> bytes:
        """The body without tools that reach further.

        Raises:
            Denied: it cannot be read, or asks for what cannot be cut out.
        """
        if not body:
            return body
        try:
            trimmed = messages_api.trim(body, self.policy)
        except messages_api.Refused as refused:
            raise Denied("server-tool", str(refused)) from None
        self.exchange.tools_cut = trimmed.cut
        return trimmed.body


@dataclass(frozen=True, slots=True)
class GraphqlFilter:
    """Rules that allow some GraphQL operations, tried in order; the first that allows wins."""

    facts: RequestFacts
    decision: Decision
    content_type: str
    content_encoding: str
    exchange: Exchange

    def __call__(self, body: bytes) -> bytes:
        """The body as it was judged.

        Raises:
            Denied: no rule allows it; the reason is the first rule's.
        """
        names, rules = zip(*self.decision.graphql, strict=True)
        verdict = judge(
            rules,
            method=self.facts.method,
            raw_target=self.facts.raw_path,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            body=body,
        )
        if verdict.body is None or verdict.position is None:
            raise Denied("graphql", verdict.reason)
        self.exchange.rule = names[verdict.position]
        return verdict.body


def _only(headers: Sequence[Header], name: bytes) -> str:
    values = [value.decode("latin-1") for key, value in headers if key.lower() == name]
    if len(values) > 1:
        raise Denied("body", f"the request has more than one {name.decode()} header")
    return values[0] if values else ""
