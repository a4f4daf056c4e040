"""What docs/network-sandbox.md and docs/credentials.md say is what the engine does."""

import base64
import re
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from airut_common.config.base import SecretName, StrictModel
from airut_common.config.credentials import CredentialConfig, MaskedCredential
from airut_common.config.models import EgressConfig
from airut_common.config.yamlfile import load_yaml_model
from airut_common.secrets import Secret
from airut_egress import dns, inspection, listener, strict_json
from airut_egress.carry import Outgoing, carry
from airut_egress.credentials import MaskedEntry, substitute, surrogate
from airut_egress.denial import MESSAGES
from airut_egress.engine import EngineSettings
from airut_egress.entries import Credential, Entries, Surrogates
from airut_egress.github_app import Installations
from airut_egress.interception import handler, head, options
from airut_egress.policy import parse_policy
from airut_egress.policy.explain import explain
from airut_egress.resolver import Resolver
from airut_egress.sessions import engine_settings
from airut_egress.sigv4 import KeyPair, Refused

from .sigv4.signing import sign

DOCS = Path(__file__).parents[3] / "docs"
NETWORK = (DOCS / "network-sandbox.md").read_text()
CREDENTIALS = (DOCS / "credentials.md").read_text()
LARGE_FILES, SUBMODULES = (
    (DOCS / "repository.md").read_text().partition("### Git LFS")[2].split("### Submodules")
)
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


@pytest.mark.parametrize(
    ("section", "request_line", "verdict"),
    [
        (LARGE_FILES, "GET https://git.example.com/team/website.git/info/refs", "allow"),
        (LARGE_FILES, "POST https://git.example.com/team/website.git/info/lfs/objects/batch", "allow"),
        (LARGE_FILES, "GET https://lfs-store.example.com/team-website/3f/2a", "allow"),
        (LARGE_FILES, "PUT https://lfs-store.example.com/team-website/3f/2a", "method"),
        (LARGE_FILES, "GET https://lfs-store.example.com/others/3f/2a", "path"),
        (SUBMODULES, "GET https://git.example.com/team/theme.git/info/refs", "allow"),
        (SUBMODULES, "POST https://git.example.com/team/theme.git/git-upload-pack", "allow"),
        (SUBMODULES, "POST https://git.example.com/team/theme.git/git-receive-pack", "path"),
    ],
)
def test_the_allowlists_for_large_files_and_submodules(section: str, request_line: str, verdict: str) -> None:
    method, url = request_line.split(" ")
    found = explain(parse_policy(textwrap.dedent(block(section)), "docs"), method, url)
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


def test_every_example_of_a_credential_is_one() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", CREDENTIALS, re.DOTALL)
    types = [
        rule.type
        for text in blocks
        for rule in load_yaml_model(text, "docs", _Credentials).credentials.values()
    ]
    assert types == ["masked", "masked", "aws-sigv4", "github-app"]


REAL_KEY = KeyPair(
    "ASIAREALREALREAL0001", "real/secret+ABCDEFGHIJKLMNOPQRSTUVWXYZ012", "real/token+0123456789"
)
OWN_KEY = KeyPair("AKIAFOREIGNFOREIGN01", "foreign/secret+0123456789abcdefghijklmno")


@pytest.mark.parametrize(("host", "signer", "scope", "outcome"), rows(CREDENTIALS, "request to"))
def test_the_table_of_signatures(
    host: str, signer: str, scope: str, outcome: str, installations: Installations
) -> None:
    text = re.findall(r"```yaml\n(.*?)```", CREDENTIALS, re.DOTALL)[1]
    (name, rule), *_ = load_yaml_model(text, "docs", _Credentials).credentials.items()
    values = (REAL_KEY.access_key_id, REAL_KEY.secret, REAL_KEY.session_token or "")
    secrets = dict(zip(rule.secret_names(name), map(Secret, values), strict=True))
    entries = Entries.build([Credential(name, rule, secrets)], Surrogates(b"k", "s", {}, installations))
    pair = KeyPair(*entries.environment().values()) if signer == "the surrogate" else OWN_KEY
    service, region = scope.split(", ")
    now = datetime.now(UTC)
    signed = sign(pair, "GET", f"https://{host}/key", service=service, region=region, at=now)
    headers = [header for header in signed.headers if header[0] != b"Host"]
    request = Outgoing("GET", host, host, b"/key", headers, tls=True, http2=False, scrubbed=False)
    try:
        carried = carry(request, entries, now=now)
    except Refused:
        assert outcome == "refused"
        return
    sent = dict(carried.headers).get(b"Authorization", b"").decode()
    assert outcome == ("signed anew" if f"Credential={REAL_KEY.access_key_id}/" in sent else "removed")
    assert (name in carried.used) == (outcome == "signed anew")
    assert pair.access_key_id not in sent


@pytest.fixture
def installations() -> Installations:
    return Installations(Resolver(), None)


class _Credentials(StrictModel):
    credentials: dict[SecretName, CredentialConfig]


def _tuples(rule: dict[str, object]) -> dict[str, object]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in rule.items()}
