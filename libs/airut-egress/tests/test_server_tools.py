"""What Anthropic's servers would do for the agent stays within the allowlist."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.engine import EngineSettings
from airut_egress.messages_api import Refused, applies_to, starts_agents, trim
from airut_egress.policy import parse_policy
from airut_egress.testing.clients import client
from airut_egress.testing.origin import Origin
from airut_egress.testing.world import running_world

POLICY = parse_policy(
    """
domains: [docs.example, "*.docs.example", single.example, some.example, "any.some.example", "a*.some.example", "?*.some.example", "*.wild.example", mcp.example]
url_prefixes:
  - {host: paths.example, path: /a/*}
  - {host: "*.paths.example", path: ""}
  - {host: posts.example, path: "", methods: [POST]}
  - {host: gets.example, path: "", methods: [GET]}
  - {host: "*.gets.example", path: "", methods: [GET, HEAD]}
""",
    "allowlist",
)
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}
OWN = {"name": "Bash", "input_schema": {"type": "object"}}


def trimmed(**request: Any) -> dict[str, Any]:
    return json.loads(trim(json.dumps(request).encode(), POLICY).body)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/v1/messages", True),
        (b"/v1/messages?beta=true", True),
        (b"/v1/messages/count_tokens", True),
        (b"/v1/messages/batches", True),
        (b"/V1/Messages", True),
        (b"//v1/./messages", True),
        (b"/x/../v1/messages", True),
        (b"/v1/%6dessages", True),
        (b"/v1/%256dessages", True),
        (b"/v1;a=b/messages", True),
        (b"/v1\\messages", True),
        (b"/v1/%25256dessages", True),
        (b"/v1/%09messages", True),
        (b"/v1/models", False),
        (b"/", False),
    ],
)
def test_which_requests_are_inspected(path: bytes, expected: bool) -> None:
    assert applies_to("api.anthropic.com", path) is expected
    assert not applies_to("api.other.example", path)


@pytest.mark.parametrize(
    ("domains", "kept"),
    [
        (["docs.example"], ["docs.example"]),
        (["docs.example/guide", "single.example"], ["docs.example/guide"]),
        (["sub.docs.example", "DOCS.example."], ["sub.docs.example", "docs.example"]),
        (["gets.example", "posts.example"], ["gets.example"]),
        (["paths.example", "a.paths.example"], ["a.paths.example"]),
        (["evil.example", "wild.example"], None),
        (["some.example", "one.example"], None),
        ([], None),
        (None, None),
    ],
)
@pytest.mark.parametrize("kind", ["web_fetch_20250910", "web_search_20250305"])
def test_domains_are_cut_to_what_is_open_with_all_subdomains(
    kind: str, domains: list[str] | None, kept: list[str] | None
) -> None:
    tool = {"type": kind, "name": "x"} | ({} if domains is None else {"allowed_domains": domains})
    found = trimmed(model="m", tools=[OWN, tool], tool_choice={"type": "auto"})
    assert found["tools"] == [OWN] if kept is None else [OWN, tool | {"allowed_domains": kept}]
    assert found["tool_choice"] == {"type": "auto"}


def test_without_tools_there_is_no_choice() -> None:
    assert trimmed(model="m", tools=[FETCH], tool_choice={"type": "any"}) == {"model": "m"}
    assert trimmed(model="m", tools=[]) == {"model": "m", "tools": []}


def test_what_the_client_runs_and_what_reaches_nothing_stays() -> None:
    tools = [OWN, OWN | {"type": "custom"}, *({"type": kind, "name": kind} for kind in (
        "bash_20250124", "text_editor_20250728", "computer_20250124", "memory_20250818", "code_execution_20250825",
        "tool_search_tool_regex_20251119",
    ))]  # fmt: skip
    assert trimmed(tools=tools)["tools"] == tools


@pytest.mark.parametrize(
    "request_",
    [
        {"tools": [FETCH | {"blocked_domains": ["evil.example"]}]},
        {"tools": [FETCH | {"allowed_domains": ["*.docs.example"]}]},
        {"tools": [FETCH | {"allowed_domains": ["docs.example:8443"]}]},
        {"tools": [FETCH | {"allowed_domains": ["x@docs.example"]}]},
        {"tools": [FETCH | {"allowed_domains": ["https://docs.example"]}]},
        {"tools": [FETCH | {"allowed_domains": ["127.0.0.1"]}]},
        {"tools": [FETCH | {"allowed_domains": [1]}]},
        {"tools": [FETCH | {"allowed_domains": "docs.example"}]},
        {"tools": [{"type": "web_fetch_2030", "name": "x"}]},
        {"tools": [{"type": "WEB_FETCH_20250910", "name": "x"}]},
        {"tools": [{"type": "brand_new_20990101", "name": "x"}]},
        {"tools": [{"type": ["custom"], "name": "x"}]},
        {"tools": ["web_fetch"]},
        {"tools": {"0": FETCH}},
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]},
        {"tools": [FETCH], "tool_choice": {"type": "tool", "name": "web_fetch"}},
        {"mcp_servers": [{"type": "url", "url": "https://evil.example/sse", "name": "x"}]},
        {"mcp_servers": [{"type": "url", "url": "https://gets.example/sse", "name": "x"}]},
        {"mcp_servers": [{"type": "url", "url": "http://mcp.example/", "name": "x"}]},
        {"mcp_servers": [{"type": "url", "url": "https://mcp.example:8443/", "name": "x"}]},
        {"mcp_servers": [{"type": "url", "url": "https://mcp.example@evil.example/", "name": "x"}]},
        {"mcp_servers": [{"name": "x"}]},
        {"mcp_servers": ["https://mcp.example"]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://evil.example/?leak"}}]}]},
        {"messages": [{"content": [{"type": "tool_result", "content": [{"type": "document", "source": {"type": "url", "url": "https://1.1.1.1/"}}]}]}]},
        {"system": [{"type": "document", "source": {"type": "url", "url": 5}}]},
        {"requests": [{"custom_id": "a", "params": {"tools": [{"type": "brand_new"}]}}]},
        {"requests": [{"custom_id": "a"}]},
        {"requests": "x"},
        {"messages": [{"content": [{"type": "tool_addition", "tool": {"type": "tool_definition", "definition": FETCH}}]}]},
        {"messages": [{"content": [{"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"type": "brand_new"}}}]}]},
        {"messages": [{"content": [{"type": "tool_addition", "tool": {"type": "another"}}]}]},
        {"messages": [{"content": [{"source": {"url": "https://evil.example/"}}]}]},
        {"messages": [{"content": [{"source": {"type": "URL", "url": "https://evil.example/"}}]}]},
        {"container": {"skills": [{"url": "https://evil.example/"}]}},
        {"brand_new": {"url": "https://evil.example/"}},
        {"mcp_servers": [{"url": "https://mcp.ex\tample/"}]},
        {"mcp_servers": [{"url": " https://mcp.example/"}]},
        {"mcp_servers": [{"url": "https://mcp.example\\@evil.example/"}]},
        {"tools": [FETCH | {"allowed_domains": ["docs.example/../x"]}]},
        {"tools": [FETCH | {"allowed_domains": ["docs.example/#y"]}]},
    ],
)  # fmt: skip
def test_what_reaches_further_is_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        trimmed(model="m", **request_)


def test_what_is_open_stays() -> None:
    servers = [{"type": "url", "url": "https://mcp.example/sse", "name": "x"}]
    image = {"type": "image", "source": {"type": "url", "url": "https://gets.example/cat.png"}}
    inline = {"type": "image", "source": {"type": "base64", "data": "aGk=", "media_type": "image/png"}}
    call = {
        "type": "tool_use",
        "id": "1",
        "name": "x",
        "input": {"source": {"type": "url", "url": "https://evil.example"}},
    }
    request = {
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}],
        "mcp_servers": servers,
        "messages": [{"role": "user", "content": [image, inline]}, {"role": "assistant", "content": [call]}],
        "metadata": {"user_id": "u"},
        "temperature": 0.1,
        "max_tokens": 12345678901234567890,
    }
    assert trimmed(**request) == request


@pytest.mark.parametrize("odd", [[], {}, 5, None])
def test_types_that_are_no_words(odd: Any) -> None:
    request = {"messages": [{"content": [{"type": odd, "source": {"type": odd}}]}]}
    assert trimmed(**request) == request


def test_tools_that_are_defined_on_the_way() -> None:
    own = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": OWN}}
    reference = {"type": "tool_addition", "tool": {"type": "tool_reference", "tool_name": "Bash"}}
    request = {"messages": [{"role": "user", "content": [own, reference]}]}
    assert trimmed(**request) == request


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"/v1/sessions", True), (b"/v1/Environments/x?y", True), (b"/x/../v1/%61gents", True), (b"/v1/models", False), (b"/v1/messages", False)],
)  # fmt: skip
def test_which_requests_start_agents_elsewhere(path: bytes, expected: bool) -> None:
    assert starts_agents("api.anthropic.com", path) is expected
    assert not starts_agents("api.other.example", path)


def test_batches_are_cut_as_well() -> None:
    found = trimmed(requests=[{"custom_id": "a", "params": {"tools": [OWN, FETCH]}}])
    assert found["requests"][0]["params"]["tools"] == [OWN]


@pytest.mark.parametrize(
    "body",
    [
        b'{"tools": [], "tools": [{"type": "web_fetch_20250910"}]}',
        b'{"tools": [], "t\\u006fols": [{"type": "web_fetch_20250910"}]}',
        b"\xef\xbb\xbf{}",
        b"[]",
        b"{} {}",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        trim(body, POLICY)


@pytest.mark.parametrize(
    ("tool", "cut"),
    [
        (OWN, False),
        (FETCH, True),
        (FETCH | {"allowed_domains": []}, True),
        (FETCH | {"allowed_domains": ["docs.example"]}, False),
        (FETCH | {"allowed_domains": ["docs.example", "evil.example"]}, True),
    ],
)
def test_row_78_it_is_known_whether_something_was_cut(tool: dict[str, Any], cut: bool) -> None:
    for request in ({"tools": [tool]}, {"requests": [{"params": {"tools": [OWN, tool, OWN]}}]}):
        assert trim(json.dumps(request).encode(), POLICY).cut is cut


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from(["url", "tool_addition", "tool_definition", "web_fetch_20250910", "docs.example", "custom"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["tools", "type", "name", "allowed_domains", "source", "url", "requests", "params", "mcp_servers", "messages", "content", "tool", "definition"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_any_request_is_refused_or_stays_within_the_allowlist(value: Any) -> None:
    try:
        found = json.loads(trim(json.dumps(value).encode(), POLICY).body)
    except Refused:
        return
    for tool in found.get("tools") or []:
        if str(tool.get("type", "")).startswith("web_"):
            assert set(tool["allowed_domains"]) <= {"docs.example"}


async def test_on_the_wire(origin: Origin, tmp_path) -> None:
    """The allowlist opens the API entirely, and still the tool goes."""
    name = "api.anthropic.com"
    origin.authority.issue_cert(name)
    settings = EngineSettings(
        connect_to={name: origin.plain_address},
        ca_file=origin.write_ca(tmp_path / "ca.pem"),
        resolver="127.0.0.1:9",
    )
    async with running_world(tmp_path / "state", settings) as world:
        sandbox = await world.sandbox(f"domains: [{name}]\n")
        async with client(sandbox) as http:
            sent = {"model": "m", "tools": [OWN, FETCH], "messages": []}
            answer = await http.post(f"http://{name}/v1/messages", json=sent)
            assert answer.status_code == 200
            assert json.loads(origin.seen[0].body) == {"model": "m", "tools": [OWN], "messages": []}
            event = await world.recorder.wait(lambda e: e.kind == "request")
            assert (event.decision, event.tags) == ("allow", ("tools-cut",))
            answer = await http.post(f"http://{name}/v1/messages", json={"tools": [{"type": "new_1"}]})
            assert (answer.status_code, answer.json()["obstacle"]) == (403, "server-tool")
            answer = await http.post(
                f"http://{name}/v1/messages", content=b"{}", headers={"Content-Encoding": "gzip"}
            )
            assert (answer.status_code, answer.json()["obstacle"]) == (403, "body")
            assert (await http.get(f"http://{name}/v1/messages/batches")).status_code == 200
            answer = await http.post(f"http://{name}/v1/sessions", json={})
            assert (answer.status_code, answer.json()["obstacle"]) == (403, "server-tool")
        assert len(origin.seen) == 2
        assert origin.seen[1].header("content-length") is None
