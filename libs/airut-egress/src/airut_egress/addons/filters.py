"""Which requests are judged on their bodies, and what their bodies have to pass. The order is this file's."""

from collections.abc import Sequence
from dataclasses import dataclass

from airut_egress.exchange import Exchange
from airut_egress.inspection import BodyFilter, Denied, Inspection
from airut_egress.policy import Decision, RequestFacts
from airut_egress.policy.graphql import judge

Header = tuple[bytes, bytes]


def inspection_for(
    facts: RequestFacts, decision: Decision, headers: Sequence[Header], exchange: Exchange
) -> Inspection | None:
    """What the body of a request has to pass; None when its headers decide alone.

    Raises:
        Denied: the headers say already that the body could not be read.
    """
    filters: list[BodyFilter] = []
    if decision.graphql:
        content_type, coding = _only(headers, b"content-type"), _only(headers, b"content-encoding")
        filters.append(GraphqlFilter(facts, decision, content_type, coding, exchange))
    return Inspection(tuple(filters)) if filters else None


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
        reasons: list[str] = []
        for rule in self.decision.graphql:
            if rule.graphql is None:
                raise RuntimeError("a rule without GraphQL has nothing to say of a body")
            verdict = judge(
                rule.graphql,
                method=self.facts.method,
                raw_target=self.facts.raw_path,
                content_type=self.content_type,
                content_encoding=self.content_encoding,
                body=body,
            )
            if verdict.allow and verdict.body is not None:
                self.exchange.rule = rule.name
                return verdict.body
            reasons.append(verdict.reason)
        raise Denied("graphql", reasons[0])


def _only(headers: Sequence[Header], name: bytes) -> str:
    values = [value.decode("latin-1") for key, value in headers if key.lower() == name]
    if len(values) > 1:
        raise Denied("body", f"the request has more than one {name.decode()} header")
    return values[0] if values else ""
