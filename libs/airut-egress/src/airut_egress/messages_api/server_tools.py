"""Tools that Anthropic's servers run, and URLs that they fetch: kept only as far as the allowlist goes itself.

https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview: `web_fetch` and `web_search` run on the API's
side, so do MCP servers that a request names, and sources of type `url`. Otherwise an agent could have fetched for it,
or sent by a URL, what its own network refuses.
"""

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit

from airut_egress.names import BadName, canonical_host
from airut_egress.policy import Policy

from . import strict_json

HOST: Final = "api.anthropic.com"
_PATH: Final = "/v1/messages"
#: Run by the client: the sandbox's own network holds.
_CLIENTS_OWN: Final = re.compile(r"(?:bash|text_editor|computer|memory)_[0-9]{8}")
#: Run by the API's servers without reaching anything: a search in the request's own tools, a container without network.
_REACHES_NOTHING: Final = re.compile(r"tool_search_tool_(?:regex|bm25)(?:_[0-9]{8})?|code_execution_[0-9]{8}")
_FETCHES: Final = re.compile(r"web_(?:fetch|search)_[0-9]{8}")
_CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_MCP: Final = "mcp_toolset"
#: A file and a path may follow the host.
_DOMAIN: Final = re.compile(r"[^/*?@:\s\\%]+(?:/[^*?\s\\]*)?")


class Refused(Exception):
    """The request must not go on; the text is for people."""


def applies_to(host: str, raw_path: bytes) -> bool:
    """Whether a request, by its canonical host and raw target, may be one of the Messages API. In doubt it is."""
    if host != HOST:
        return False
    path = raw_path.partition(b"?")[0]
    decoded = unquote_to_bytes(unquote_to_bytes(path)).decode("latin-1").lower().replace("\\", "/")
    segments: list[str] = []
    for segment in decoded.split("/"):
        name = segment.partition(";")[0]
        if name == "..":
            del segments[-1:]
        elif name not in {"", "."}:
            segments.append(name)
    return f"/{'/'.join(segments)}".startswith(_PATH)


def trim(body: bytes, policy: Policy) -> bytes:
    """The request as it may go on, written anew.

    Raises:
        Refused: it asks for something that the allowlist does not let the sandbox reach, or cannot be read.
    """
    try:
        request = strict_json.parse(body)
        if not isinstance(request, dict):
            raise Refused("a request of the Messages API is one JSON object")
        for params in _params(request):
            _trim(params, policy)
        return strict_json.dump(request)
    except strict_json.BadJson as error:
        raise Refused(str(error)) from None


def _params(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The request itself, or those of a batch."""
    yield request
    for entry in _list(request, "requests"):
        params = entry.get("params") if isinstance(entry, dict) else None
        if not isinstance(params, dict):
            raise Refused("an entry of a batch has no `params`")
        yield params


def _trim(params: dict[str, Any], policy: Policy) -> None:
    servers = _list(params, "mcp_servers")
    for server in servers:
        _check_url(server.get("url") if isinstance(server, dict) else None, policy, "an MCP server")
    tools = _list(params, "tools")
    kept = [tool for tool in tools if _keep(tool, policy, has_servers=bool(servers))]
    _check_choice(params.get("tool_choice"), kept)
    if kept:
        params["tools"] = kept
    elif tools:
        # The API takes no choice without tools.
        del params["tools"]
        params.pop("tool_choice", None)
    for key in params.keys() - {"tools", "mcp_servers", "requests", "metadata"}:
        _check_sources(params[key], policy)


def _keep(tool: Any, policy: Policy, *, has_servers: bool) -> bool:
    """Whether a tool stays; the domains of one that fetches are cut in place."""
    if not isinstance(tool, dict):
        raise Refused("a tool is a JSON object")
    kind = tool.get("type", "custom")
    if kind is None or kind == "custom":
        return True
    if not isinstance(kind, str):
        raise Refused("the type of a tool is a string")
    if _CLIENTS_OWN.fullmatch(kind) or _REACHES_NOTHING.fullmatch(kind):
        return True
    if kind == _MCP:
        if not has_servers:
            raise Refused("an mcp_toolset needs an MCP server in the request")
        return True
    if _FETCHES.fullmatch(kind) is None:
        raise Refused(f"the tool type {kind[:60]!r} is not known here, so nobody can say what it would reach")
    return _cut_domains(tool, kind, policy)


def _cut_domains(tool: dict[str, Any], kind: str, policy: Policy) -> bool:
    if tool.get("blocked_domains"):
        raise Refused(f"{kind}: blocked_domains leaves everything else open; use allowed_domains")
    tool.pop("blocked_domains", None)
    domains = _list(tool, "allowed_domains")
    kept = [domain for domain in domains if _may_fetch(domain, kind, policy)]
    # An empty list might mean "everything" to the API: then the tool goes.
    tool["allowed_domains"] = kept
    return bool(kept)


def _may_fetch(domain: Any, kind: str, policy: Policy) -> bool:
    """The API counts subdomains in, so the allowlist has to as well."""
    if not isinstance(domain, str) or _DOMAIN.fullmatch(domain) is None:
        raise Refused(f"{kind}: allowed_domains has something that is no domain")
    try:
        host = canonical_host(domain.partition("/")[0])
    except BadName:
        raise Refused(f"{kind}: allowed_domains has something that is no domain") from None
    return _open_for_get(host, policy) and _open_for_get(f"any.{host}", policy)


def _open_for_get(host: str, policy: Policy) -> bool:
    return any(
        rule.path.is_everything and rule.graphql is None and (rule.methods is None or "GET" in rule.methods)
        for rule in policy.rules_for(host).rules
    )


def _open_for_everything(host: str, policy: Policy) -> bool:
    return any(
        rule.path.is_everything and rule.graphql is None and rule.methods is None
        for rule in policy.rules_for(host).rules
    )


def _check_choice(choice: Any, tools: list[dict[str, Any]]) -> None:
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return
    if choice.get("name") not in [tool.get("name") for tool in tools]:
        raise Refused("tool_choice names a tool that the network allowlist does not allow")


def _check_sources(value: Any, policy: Policy) -> None:
    """Every `source` of type `url` below a value, but for what a tool was once called with: nobody fetches that."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            source = found.get("source")
            if isinstance(source, dict) and source.get("type") == "url":
                _check_url(source.get("url"), policy, "a source")
            called = found.get("type") in _CALLS
            waiting += (inner for key, inner in found.items() if not (called and key == "input"))


def _list(holder: dict[str, Any], key: str) -> list[Any]:
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refused(f"`{key}` is a list")
    return value


def _check_url(url: Any, policy: Policy, what: str) -> None:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host = canonical_host(parts.hostname or "")
        plain = parts.scheme == "https" and parts.port in {None, 443} and "@" not in parts.netloc
    except ValueError:
        raise Refused(f"{what} has a URL that cannot be read") from None
    allowed = _open_for_everything if what == "an MCP server" else _open_for_get
    if not plain or not allowed(host, policy):
        raise Refused(f"{what} leads to {host[:100]}, which the network allowlist does not open entirely")
