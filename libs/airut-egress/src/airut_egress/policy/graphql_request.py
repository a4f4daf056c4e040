"""The HTTP side of a GraphQL request: the one form that is judged, read strictly and written anew."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from airut_egress import strict_json

# A body of short numbers takes the judge half a second of a core for each mebibyte.
_MAX_BODY: Final = 1024 * 1024
_MAX_DEPTH: Final = 64
_MAX_DECODINGS: Final = 8
_MAX_FRACTION: Final = 64

_CONTENT_TYPE: Final = re.compile(
    r'[ \t]*application/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?', re.ASCII | re.IGNORECASE
)
_KEYS: Final = frozenset({"query", "variables", "operationName", "extensions"})
_SEPARATOR: Final = re.compile(r"[?&;#]")
_PARAMETER: Final = re.compile(r"[^A-Za-z%]*([A-Za-z_%]*)", re.ASCII)
# What servers take from the URL in the place of, or before, what the body has. Compared without case and `_`.
_SPECIAL_PARAMETERS: Final = frozenset(
    {
        *("query", "operationname", "variables", "extensions", "mutation", "subscription"),
        *("docid", "documentid", "queryid", "persistedquery", "batch"),
    }
)


class Refused(Exception):
    """Not a request that can be judged, or one that is not allowed; the message is for people."""


@dataclass(frozen=True, slots=True)
class GraphqlRequest:
    """The members of the JSON object."""

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None

    def serialised(self) -> bytes:
        """The body to send: ASCII, so that no charset changes what it says."""
        members: dict[str, Any] = {"query": self.query}
        if self.variables is not None:
            members["variables"] = self.variables
        if self.operation_name is not None:
            members["operationName"] = self.operation_name
        return json.dumps(members, allow_nan=False, separators=(",", ":")).encode("ascii")


def check_head(method: str, raw_target: bytes, content_type: str, content_encoding: str) -> None:
    """Make sure that all of the request is in its body.

    Raises:
        Refused: another method, content type or coding, or a URL query that speaks to a GraphQL server.
    """
    if method != "POST":
        raise Refused("GraphQL requests are judged in the body of a POST only")
    if _CONTENT_TYPE.fullmatch(content_type) is None:
        raise Refused("GraphQL requests are judged as application/json in UTF-8 only")
    if content_encoding.strip(" \t").lower() not in ("", "identity"):
        raise Refused("GraphQL requests are judged without a content coding only")
    if any(name in _SPECIAL_PARAMETERS or "%" in name for name in _parameter_names(raw_target)):
        raise Refused("a GraphQL request has no operation, variables or document in its URL")


def read_body(body: bytes) -> GraphqlRequest:
    """Read the body of a request whose head was checked.

    Raises:
        Refused: not one strict JSON object with `query` and at most the other members of GraphQL over HTTP.
    """
    members = _read_json(body)
    if not isinstance(members, dict):
        raise Refused("a GraphQL request is one JSON object; batches are not allowed")
    if not members.keys() <= _KEYS:
        raise Refused("a GraphQL request has query, variables and operationName, and nothing else")
    query, variables, operation_name = (members.get(key) for key in ("query", "variables", "operationName"))
    if not isinstance(query, str):
        raise Refused("a GraphQL request has its document as a string in 'query'")
    if not isinstance(variables, dict | None):
        raise Refused("variables of a GraphQL request are a JSON object")
    if not isinstance(operation_name, str | None):
        raise Refused("the operationName of a GraphQL request is a string")
    if members.get("extensions") not in (None, {}):
        raise Refused("extensions of a GraphQL request, such as persistedQuery, are not allowed")
    return GraphqlRequest(query, variables, operation_name)


def _parameter_names(raw_target: bytes) -> Iterator[str]:
    # Decoded before it is cut, and as often as it can be: a gateway and the server behind it may both decode.
    target = raw_target
    for _ in range(_MAX_DECODINGS):
        decoded = unquote_to_bytes(target)
        if decoded == target:
            break
        target = decoded
    else:
        raise Refused("the URL is encoded more often than any server decodes it")
    for parameter in _SEPARATOR.split(target.decode("latin-1"))[1:]:
        # `query[]`, ` query` and `query%00` are `query` to some servers: only the letters count.
        name = _PARAMETER.match(parameter)
        if name is not None:
            yield name[1].replace("_", "").lower()


def _read_json(body: bytes) -> object:
    if len(body) > _MAX_BODY:
        raise Refused(f"a GraphQL request has at most {_MAX_BODY} bytes")
    try:
        return strict_json.parse(body, max_depth=_MAX_DEPTH, parse_float=_exact)
    except strict_json.BadJson as error:
        raise Refused(str(error)) from None


def _exact(literal: str) -> float:
    # A number is written anew, too: one that would come out as another number is not sent.
    value = float(literal)
    try:
        if len(literal) <= _MAX_FRACTION and Decimal(repr(value)) == Decimal(literal):
            return value
    except ArithmeticError:
        pass
    raise strict_json.BadJson("a number in the body is more exact than a double")
