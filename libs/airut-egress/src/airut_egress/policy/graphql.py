"""Rules on GraphQL operations, decided on the parsed document by the names of its top-level fields.

What is judged is what is sent: the document is spelled anew from its tokens before it is parsed, and the
JSON around it is written anew after that. Fields below the top level play no part.
"""

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Source,
    Token,
    TokenKind,
    parse,
)
from graphql.language import Lexer

from .graphql_request import GraphqlRequest, Refused, check_head, read_body
from .patterns import BadPattern

_MAX_DOCUMENT: Final = 128 * 1024
_MAX_TOKENS: Final = 20_000
_MAX_SHOWN: Final = 80
_FIELD_PATTERN: Final = re.compile(r"[_A-Za-z0-9*?]+", re.ASCII)
# Names the type of an object and nothing else; clients ask for it everywhere.
_TYPENAME: Final = "__typename"
_STRINGS: Final = frozenset({TokenKind.STRING, TokenKind.BLOCK_STRING})
_GLUED: Final = frozenset({TokenKind.DOLLAR, TokenKind.AT, TokenKind.SPREAD})


@dataclass(frozen=True, slots=True)
class GraphqlRule:
    """The `graphql` of a rule, compiled. An operation type without patterns is closed."""

    patterns: Mapping[str, tuple[re.Pattern[str], ...]]
    """`query`, `mutation` and `subscription` to patterns on the names of top-level fields."""

    @classmethod
    def parse(
        cls, queries: Sequence[str] = (), mutations: Sequence[str] = (), subscriptions: Sequence[str] = ()
    ) -> Self:
        """Compile the lists of a rule.

        Raises:
            BadPattern: no field name could match, or a character class.
        """
        lists = {"query": queries, "mutation": mutations, "subscription": subscriptions}
        return cls({operation: tuple(map(_compiled, raw)) for operation, raw in lists.items()})

    def allows(self, operation: str, field: str) -> bool:
        """Whether an operation of this type may have this top-level field."""
        if field == _TYPENAME:
            return True
        return any(pattern.match(field) is not None for pattern in self.patterns.get(operation, ()))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Allow or deny, why, and what to send."""

    allow: bool
    reason: str
    """One line for people; at most the operation type and the field are the sandbox's words."""
    body: bytes | None
    """The body to send in place of the one that came; None when denied."""
    position: int | None = None
    """Of the rule that allows; None when denied."""


def judge(
    rules: Sequence[GraphqlRule],
    *,
    method: str,
    raw_target: bytes,
    content_type: str,
    content_encoding: str,
    body: bytes,
) -> Verdict:
    """Judge a whole request by rules that are tried in order; the first that allows wins, and when none does, the
    reason is the first one's. Never raises: what cannot be judged is denied.

    Header values are those of the only header of that name, "" when there is none.
    """
    try:
        spelled, document = read_request(
            method=method,
            raw_target=raw_target,
            content_type=content_type,
            content_encoding=content_encoding,
            body=body,
        )
        fields = _top_fields(document, spelled.operation_name)
        obstacles = [_obstacle(rule, fields) for rule in rules]
        if None not in obstacles:
            return _denied(next(filter(None, obstacles), "no rule allows GraphQL requests here"))
        reason = "allowed by its top-level fields"
        return Verdict(allow=True, reason=reason, body=spelled.serialised(), position=obstacles.index(None))
    except Refused as refusal:
        return _denied(str(refusal))
    except Exception:  # noqa: BLE001  whatever a hostile request makes a parser trip over is denied
        return _denied("the GraphQL request could not be judged")


def read_request(
    *, method: str, raw_target: bytes, content_type: str, content_encoding: str, body: bytes
) -> tuple[GraphqlRequest, DocumentNode]:
    """A request as it will be sent, and its document.

    Raises:
        Refused: it cannot be read in one way only.
    """
    check_head(method, raw_target, content_type, content_encoding)
    request = read_body(body)
    spelled = replace(request, query=_respelled(request.query))
    return spelled, _parsed(spelled.query)


def _denied(reason: str) -> Verdict:
    return Verdict(allow=False, reason=reason, body=None)


def _compiled(raw: str) -> re.Pattern[str]:
    if _FIELD_PATTERN.fullmatch(raw) is None:
        raise BadPattern("a pattern on GraphQL fields is made of letters, digits, '_', '*' and '?'")
    return re.compile(fnmatch.translate(raw))


def _respelled(document: str) -> str:
    """The same tokens without comments, with one space between them and with plain strings only.

    Old servers end a comment at U+2028 and read a block string as three strings: fields could hide there.

    Raises:
        Refused: too large, or something in it is not a GraphQL token.
    """
    if len(document) > _MAX_DOCUMENT or len(document.encode("utf-8", "surrogatepass")) > _MAX_DOCUMENT:
        raise Refused(f"a GraphQL document has at most {_MAX_DOCUMENT} bytes")
    lexer = Lexer(Source(document))
    spelled: list[str] = []
    for _ in range(_MAX_TOKENS):
        try:
            token = lexer.advance()
        except GraphQLError:
            raise Refused("the query is not a GraphQL document") from None
        if token.kind is TokenKind.EOF:
            return "".join(spelled).rstrip(" ")
        spelled.append(_spelled(token))
    raise Refused(f"a GraphQL document has at most {_MAX_TOKENS} tokens")


def _spelled(token: Token) -> str:
    value = token.value or ""
    # GraphQL knows every escape that JSON is written with.
    text = json.dumps(value, ensure_ascii=False) if token.kind in _STRINGS else value or token.kind.value
    return text if token.kind in _GLUED else f"{text} "


def _parsed(document: str) -> DocumentNode:
    try:
        return parse(Source(document), no_location=True, max_tokens=_MAX_TOKENS)
    except (GraphQLError, RecursionError):
        raise Refused("the query is not a GraphQL document") from None


def _top_fields(document: DocumentNode, operation_name: str | None) -> dict[str, dict[str, None]]:
    """Operation type to the top-level fields of all its operations: no server need pick the one we mean.

    Raises:
        Refused: a document that servers could read in more than one way.
    """
    operations: list[OperationDefinitionNode] = []
    fragments: dict[str, FragmentDefinitionNode] = {}
    for definition in document.definitions:
        match definition:
            case OperationDefinitionNode():
                operations.append(definition)
            case FragmentDefinitionNode(name=name) if name.value not in fragments:
                fragments[name.value] = definition
            case FragmentDefinitionNode():
                raise Refused("a GraphQL document defines the same fragment twice")
            case _:
                raise Refused("a GraphQL request has operations and fragments, not type definitions")
    _check_name(operations, operation_name)
    # Together by type, so that fragments which many operations share are entered once.
    roots: dict[str, list[SelectionSetNode]] = {}
    for operation in operations:
        roots.setdefault(operation.operation.value, []).append(operation.selection_set)
    return {kind: _fields(selections, fragments) for kind, selections in roots.items()}


def _check_name(operations: Sequence[OperationDefinitionNode], operation_name: str | None) -> None:
    names = [each.name.value if each.name is not None else None for each in operations]
    if not names:
        raise Refused("a GraphQL document has an operation")
    if len(set(names)) != len(names):
        raise Refused("a GraphQL document defines the same operation twice")
    if operation_name is None and len(names) > 1:
        raise Refused("a GraphQL request with several operations names one of them")
    if operation_name is not None and operation_name not in names:
        raise Refused("the operationName names no operation of the document")


def _obstacle(rule: GraphqlRule, fields: Mapping[str, Iterable[str]]) -> str | None:
    """The first field that a rule does not allow, in words."""
    for operation, names in fields.items():
        for field in names:
            if not rule.allows(operation, field):
                shown = field if len(field) <= _MAX_SHOWN else f"{field[: _MAX_SHOWN - 1]}…"
                return f"no pattern of the rule allows the {operation} field {shown}"
    return None


def _fields(
    roots: Iterable[SelectionSetNode], fragments: Mapping[str, FragmentDefinitionNode]
) -> dict[str, None]:
    """Names of the fields that these selections put at the top, each once, in the order they are found.

    Directives play no part: a server may not know `@skip`, or a variable may turn it off.

    Raises:
        Refused: a fragment that is not defined, or a selection of nothing.
    """
    found: dict[str, None] = {}
    entered: set[str] = set()
    pending = list(roots)
    while pending:
        selections = pending.pop().selections
        if not selections:
            raise Refused("a GraphQL selection is not empty")
        for selection in selections:
            match selection:
                case FieldNode(name=name):
                    found[name.value] = None
                case InlineFragmentNode(selection_set=inner):
                    pending.append(inner)
                case FragmentSpreadNode(name=name) if name.value not in fragments:
                    raise Refused("a GraphQL document uses a fragment that it does not define")
                case FragmentSpreadNode(name=name) if name.value not in entered:
                    entered.add(name.value)
                    pending.append(fragments[name.value].selection_set)
                case FragmentSpreadNode():
                    pass  # its fields are known: it was met before, or it contains itself
                case _:
                    raise Refused("a GraphQL selection has fields and fragments")
    if not found:
        raise Refused("a GraphQL operation selects nothing but fragments that contain themselves")
    return found
