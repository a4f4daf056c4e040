"""What docs/network-sandbox.md and docs/credentials.md say is what the engine does."""

import base64
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from airut_common.config.models import EgressConfig, MaskedCredential
from airut_common.secrets import Secret
from airut_egress import dns, inspection, listener, strict_json
from airut_egress.credentials import MaskedEntry, substitute, surrogate
from airut_egress.denial import MESSAGES
from airut_egress.engine import EngineSettings
from airut_egress.interception import handler, head, options
from airut_egress.policy import parse_policy
from airut_egress.policy.explain import explain
from airut_egress.sessions import engine_settings

DOCS = Path(__file__).parents[3] / "docs"
NETWORK = (DOCS / "network-sandbox.md").read_text()
CREDENTIALS = (DOCS / "credentials.md").read_text()
REAL = {
    "GITHUB_TOKEN": "ghp_realrealreal0123456789REALREALREAL01",
    "ANTHROPIC_API_KEY": "sk-ant-real0123456789",
}


def block(text: str) -> str:
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]


def rows(text: str, heading: str) -> list[list[str]]:
    table = text.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


@pytest.mark.parametrize(("request_line", "verdict"), rows(NETWORK, "request"))
def test_the_table_of_requests(request_line: str, verdict: str) -> None:
    method, url = request_line.split(" ")
    found = explain(parse_policy(block(NETWORK), "docs"), method, url)
    assert (found.obstacle or "allow") == verdict


def test_the_table_of_obstacles_is_complete() -> None:
    assert dict(rows(NETWORK, "obstacle")) == MESSAGES


MIB = 1024 * 1024
LIMITS = {
    "open connections (`egress.max_connections`)": EgressConfig().max_connections,
    "requests in a second (`egress.max_requests_per_second`)": int(EgressConfig().max_requests_per_second),
    "bytes in a second (`egress.max_bytes_per_second`)": EgressConfig().max_bytes_per_second or "none",
    "connections to upstreams": handler._MAX_UPSTREAMS,
    "seconds to the first request of a connection": int(handler._FIRST_REQUEST_SECONDS),
    "seconds without a byte": options.IDLE_SECONDS,
    "KiB of a request's head": head.MAX_HEAD_BYTES // 1024,
    "headers of a request": head.MAX_HEADERS,
    "MiB of a body that is judged": inspection.MAX_BODY_BYTES // MIB,
    "MiB of all bodies that are being judged": inspection.MAX_SESSION_BYTES // MIB,
    "values in a body that is judged": strict_json.MAX_VALUES,
    "DNS questions in a second": int(listener._QUESTIONS_PER_SECOND),
    "names asked for": dns.MAX_NAMES,
}


def test_the_table_of_limits() -> None:
    assert {limit: value for limit, value, _ in rows(NETWORK, "limit")} == {
        limit: str(value) for limit, value in LIMITS.items()
    }


def test_the_engine_begins_with_the_limits_of_the_configuration() -> None:
    assert engine_settings(EgressConfig()) == EngineSettings()


@pytest.mark.parametrize(("host", "header", "outcome"), rows(CREDENTIALS, "to"))
def test_the_table_of_credentials(host: str, header: str, outcome: str) -> None:
    rules = YAML(typ="safe").load(block(CREDENTIALS))["credentials"]
    entries = [
        MaskedEntry.build(
            name,
            MaskedCredential(**_tuples(rule)),
            Secret(REAL[name]),
            surrogate(b"k", "s", name, REAL[name]),
        )
        for name, rule in rules.items()
    ]
    stand_in = entries[0].surrogate
    encoded = base64.b64encode(f"x-access-token:{stand_in}".encode()).decode()
    name, _, value = header.replace("base64(x-access-token:GH)", encoded).partition(": ")
    value = re.sub(r"\bGH\b", stand_in, value)
    done = substitute([(name.encode(), value.encode())], host, target=b"/", tls=True, credentials=entries)
    if done.refusal is not None:
        assert outcome == "refused"
    elif not done.headers:
        assert outcome == "removed"
    else:
        assert outcome == ("untouched" if done.headers == [(name.encode(), value.encode())] else "replaced")
        assert (done.used == ("GITHUB_TOKEN",)) == (outcome == "replaced")


def _tuples(rule: dict[str, object]) -> dict[str, object]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in rule.items()}
