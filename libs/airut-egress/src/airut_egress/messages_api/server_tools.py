"""Tools that Anthropic's servers run, and URLs that they fetch: kept only as far as the allowlist goes itself.

https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview: `web_fetch` and `web_search` run on the API's
side, so do MCP servers that a request names, and sources of type `url`. Otherwise an agent could have fetched for it,
or sent by a URL, what its own network refuses.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from airut_egress import strict_json
from airut_egress.names import BadName, canonical_host
from airut_egress.policy import Policy
from airut_egress.policy.model import Rule

#: Run by the client: the sandbox's own network holds.
_CLIENTS_OWN: Final = re.compile(r"(?:bash|text_editor|computer|memory)_[0-9]{8}")
#: Run by the API's servers without reaching anything: a search in the request's own tools, a container without network.
_REACHES_NOTHING: Final = re.compile(r"tool_search_tool_(?:regex|bm25)(?:_[0-9]{8})?|code_execution_[0-9]{8}")
_FETCHES: Final = re.compile(r"web_(?:fetch|search)_[0-9]{8}")
#: What was said so far; everything else of a request is settings.
_SAID: Final = frozenset({"messages", "system"})
_ADDED: Final = ("tool_definition", "tool_reference")
_CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_MCP: Final = "mcp_toolset"
#: A file and a path may follow the host.
_DOMAIN: Final = re.compile(r"[^/*?@:#\s\\%]+(?:/[^*?#\s\\%]*)?")
_DOT_SEGMENT: Final = re.compile(r"/\.{1,2}(?:/|\Z)")
#: Parsers drop some of these before they read a URL, and read a backslash as a slash.
_BAD_IN_URL: Final = re.compile(r"[\x00-\x20\x7f\\]|\s")
_MAX_DEPTH: Final = 200


class Refused(Exception):
    """The request must not go on; the text is for people."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A request as it may go on."""

    body: bytes
    """Written anew."""
    cut: bool
    """Whether a tool was taken out, or some of its domains."""


def trim(body: bytes, policy: Policy) -> Trimmed:
    """The request without what the allowlist does not let the sandbox reach.

    Raises:
        Refused: it asks for something of that kind that cannot be cut out, or cannot be read.
    """
    scissors = _Scissors(policy)
    try:
        request = strict_json.parse(body, max_depth=_MAX_DEPTH)
        if not isinstance(request, dict):
            raise Refused("a request of the Messages API is one JSON object")
        for params in _params(request):
            scissors.trim(params)
        return Trimmed(strict_json.dump(request), scissors.cut)
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


class _Scissors:
    """Cuts one request, and notes whether it had to."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.cut = False

    def trim(self, params: dict[str, Any]) -> None:
        """Cut in place."""
        servers = _list(params, "mcp_servers")
        for server in servers:
            url = server.get("url") if isinstance(server, dict) else None
            _check_url(url, self._policy, "an MCP server", opens=_opens_everything)
        tools = _list(params, "tools")
        kept = [tool for tool in tools if self._keep(tool, has_servers=bool(servers))]
        _check_choice(params.get("tool_choice"), kept)
        if kept:
            params["tools"] = kept
        elif tools:
            # The API takes no choice without tools.
            del params["tools"]
            params.pop("tool_choice", None)
        for key in params.keys() - {"tools", "mcp_servers", "requests", "metadata"}:
            if key in _SAID:
                self._check_said(params[key], has_servers=bool(servers))
            else:
                _check_urls(params[key], self._policy)

    def _keep(self, tool: Any, *, has_servers: bool) -> bool:
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
            raise Refused(
                f"the tool type {kind[:60]!r} is not known here, so nobody can say what it would reach"
            )
        return self._cut_domains(tool, kind)

    def _cut_domains(self, tool: dict[str, Any], kind: str) -> bool:
        if tool.get("blocked_domains"):
            raise Refused(f"{kind}: blocked_domains leaves everything else open; use allowed_domains")
        tool.pop("blocked_domains", None)
        domains = _list(tool, "allowed_domains")
        kept = [read for domain in domains if (read := _fetchable(domain, kind, self._policy)) is not None]
        # An empty list might mean "everything" to the API: then the tool goes.
        tool["allowed_domains"] = kept
        self.cut = self.cut or not kept or len(kept) < len(domains)
        return bool(kept)

    def _check_said(self, value: Any, *, has_servers: bool) -> None:
        """Every `source` with a URL and every tool that is defined on the way, but for what a tool was once called
        with: nobody fetches that."""
        for found in _objects(value, without_calls=True):
            source = found.get("source")
            if isinstance(source, dict) and "url" in source:
                _check_url(source["url"], self._policy, "a source")
            kind = found.get("type")
            if kind == "tool_definition":
                if not self._keep(found.get("definition"), has_servers=has_servers):
                    raise Refused(
                        "a tool that is defined in a message would reach further than the network allowlist"
                    )
            elif kind == "tool_addition":
                added = found.get("tool")
                if not isinstance(added, dict) or added.get("type") not in _ADDED:
                    raise Refused("a tool_addition has a tool that is not known here")


def _fetchable(domain: Any, kind: str, policy: Policy) -> str | None:
    """A domain in its one spelling, if the allowlist opens it with all its subdomains: the API counts them in."""
    if not isinstance(domain, str) or _DOMAIN.fullmatch(domain) is None or _DOT_SEGMENT.search(domain):
        raise Refused(f"{kind}: allowed_domains has something that is no domain")
    try:
        name, slash, path = domain.partition("/")
        host = canonical_host(name)
    except BadName:
        raise Refused(f"{kind}: allowed_domains has something that is no domain") from None
    subdomains = any(_opens_get(rule) and _covers_subdomains(rule.host.text, host) for rule in policy.rules)
    itself = any(_opens_get(rule) for rule in policy.rules_for(host).rules)
    return f"{host}{slash}{path}" if subdomains and itself else None


def _covers_subdomains(pattern: str, host: str) -> bool:
    above = pattern.removeprefix("*.")
    return pattern == "*" or (
        above != pattern and "*" not in above and "?" not in above and f".{host}".endswith(f".{above}")
    )


def _opens_everything(rule: Rule) -> bool:
    return rule.path.is_everything and rule.graphql is None and rule.methods is None


def _opens_get(rule: Rule) -> bool:
    return (
        rule.path.is_everything and rule.graphql is None and (rule.methods is None or "GET" in rule.methods)
    )


def _check_choice(choice: Any, tools: list[dict[str, Any]]) -> None:
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return
    if choice.get("name") not in [tool.get("name") for tool in tools]:
        raise Refused("tool_choice names a tool that the network allowlist does not allow")


def _check_urls(value: Any, policy: Policy) -> None:
    """Settings that name a URL: nobody can say what would be done with it."""
    for found in _objects(value, without_calls=False):
        if "url" in found:
            _check_url(found["url"], policy, "a setting")


def _objects(value: Any, *, without_calls: bool) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            yield found
            kind = found.get("type")
            called = without_calls and isinstance(kind, str) and kind in _CALLS
            waiting += (inner for key, inner in found.items() if not (called and key == "input"))


def _list(holder: dict[str, Any], key: str) -> list[Any]:
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refused(f"`{key}` is a list")
    return value


def _check_url(url: Any, policy: Policy, what: str, *, opens: Callable[[Rule], bool] = _opens_get) -> None:
    if not isinstance(url, str) or _BAD_IN_URL.search(url):
        raise Refused(f"{what} has a URL that cannot be read")
    try:
        parts = urlsplit(url)
        host = canonical_host(parts.hostname or "")
        plain = parts.scheme == "https" and parts.port in {None, 443} and "@" not in parts.netloc
    except ValueError:
        raise Refused(f"{what} has a URL that cannot be read") from None
    if not plain or not any(opens(rule) for rule in policy.rules_for(host).rules):
        raise Refused(f"{what} leads to {host[:100]}, which the network allowlist does not open entirely")
