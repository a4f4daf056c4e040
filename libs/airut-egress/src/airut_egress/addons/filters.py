"""Which requests are judged on their bodies, and what their bodies have to pass. The order is this file's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from airut_egress import github_app, messages_api
from airut_egress.exchange import Exchange
from airut_egress.github_app import AppEntry, InstallationToken
from airut_egress.inspection import BodyFilter, Denied, Inspection
from airut_egress.policy import Decision, Policy, RequestFacts
from airut_egress.policy.graphql import judge, read_request
from airut_egress.policy.graphql_request import Refused as GraphqlRefused

Header = tuple[bytes, bytes]


def inspection_for(
    facts: RequestFacts, decision: Decision, headers: Sequence[Header], exchange: Exchange, policy: Policy
) -> Inspection | None:
    """What the body of a request has to pass before it is signed; None when its headers decide alone.

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
        filters.append(GraphqlFilter(GraphqlHead.of(facts, headers), decision, exchange))
    filters += [
        InstallationFilter(GraphqlHead.of(facts, headers), app.name, token)
        for app, token in _apps(exchange.session.entries.apps, facts)
    ]
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
class GraphqlHead:
    """What the head of a request says of the GraphQL in its body."""

    method: str
    raw_target: bytes
    content_type: str
    content_encoding: str

    @classmethod
    def of(cls, facts: RequestFacts, headers: Sequence[Header]) -> Self:
        """Read it.

        Raises:
            Denied: a header is there twice.
        """
        content_type, coding = _only(headers, b"content-type"), _only(headers, b"content-encoding")
        return cls(facts.method, facts.raw_path, content_type, coding)


@dataclass(frozen=True, slots=True)
class GraphqlFilter:
    """Rules that allow some GraphQL operations, tried in order; the first that allows wins."""

    head: GraphqlHead
    decision: Decision
    exchange: Exchange

    def __call__(self, body: bytes) -> bytes:
        """The body as it was judged.

        Raises:
            Denied: no rule allows it; the reason is the first rule's.
        """
        names, rules = zip(*self.decision.graphql, strict=True)
        verdict = judge(
            rules,
            method=self.head.method,
            raw_target=self.head.raw_target,
            content_type=self.head.content_type,
            content_encoding=self.head.content_encoding,
            body=body,
        )
        if verdict.body is None or verdict.position is None:
            raise Denied("graphql", verdict.reason)
        self.exchange.rule = names[verdict.position]
        return verdict.body


@dataclass(frozen=True, slots=True)
class InstallationFilter:
    """Keeps GraphQL under a GitHub App's token to the repositories of the installation; whatever rule has allowed the
    request."""

    head: GraphqlHead
    name: str
    token: InstallationToken

    def __call__(self, body: bytes) -> bytes:
        """The body as it was judged.

        Raises:
            Denied: it names something outside, or what it names cannot be told.
        """
        repositories = self.token.repositories
        if repositories is None:
            raise Denied(
                "graphql",
                f"the installation of {self.name} has too many repositories to tell them apart; name those that are "
                "meant in its credential",
            )
        try:
            request, document = read_request(
                method=self.head.method,
                raw_target=self.head.raw_target,
                content_type=self.head.content_type,
                content_encoding=self.head.content_encoding,
                body=body,
            )
        except GraphqlRefused as refused:
            raise Denied("graphql", str(refused)) from None
        problem = github_app.judge(
            document,
            request.variables or {},
            repositories=repositories,
            repository_ids=self.token.repository_ids,
        )
        if problem is not None:
            raise Denied("graphql", problem)
        return request.serialised()


def _apps(entries: Sequence[AppEntry], facts: RequestFacts) -> Iterator[tuple[AppEntry, InstallationToken]]:
    """The Apps whose token the request may carry to GitHub's GraphQL API."""
    for app in entries:
        if facts.scheme == "https" and app.covers(facts.host) and app.judges(facts.host, facts.raw_path):
            if app.token is None:
                raise Denied("token", f"{app.name}: {app.problem}")
            yield app, app.token


def _only(headers: Sequence[Header], name: bytes) -> str:
    values = [value.decode("latin-1") for key, value in headers if key.lower() == name]
    if len(values) > 1:
        raise Denied("body", f"the request has more than one {name.decode()} header")
    return values[0] if values else ""
