"""What is fuzzed: each target takes any bytes, and raises when a promise is broken."""

import base64
import contextlib
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

import dns.message
import dns.rdatatype
import graphql

from airut_common.config.credentials import MaskedCredential
from airut_common.config.models import InstallationConfig
from airut_common.config.yamlfile import ConfigError, load_yaml_model
from airut_common.secrets import Secret
from airut_egress import messages_api
from airut_egress.carriers import is_carrier, normal_name
from airut_egress.credentials import MaskedEntry, substitute
from airut_egress.dns import POOL, SyntheticNames, answer
from airut_egress.interception.authority_form import read_authority
from airut_egress.interception.head import head_problem
from airut_egress.names import BadName, canonical_host, is_address_literal
from airut_egress.paths import decode_path
from airut_egress.policy import RequestFacts, decide, parse_policy
from airut_egress.policy.graphql import GraphqlRule, judge
from airut_egress.policy.graphql_request import read_body
from airut_egress.scrub import AnswerScrubber, Undecodable, needles_of
from airut_egress.strict_json import parse
from airut_egress.swap import Swap, readable
from airut_sandbox.dockerfile import DockerfileRefused, check_dockerfile
from fuzz.mail import addresses, arc_chain, auth_results, mail_author, mail_content, mail_form, thread
from fuzz.signing import chunks, installation, signature

REAL: Final = "ghp_" + "R" * 18 + "7" * 18
FAKE: Final = "ghp_" + "F" * 18 + "3" * 18
HOME: Final = "api.example.test"
_POLICY: Final = parse_policy(
    f"url_prefixes:\n  - {{host: {HOME}, path: '/repos/mine/*', methods: [GET]}}\n", "fuzz"
)
_DOCS: Final = parse_policy("domains: [docs.test, '*.docs.test']\n", "fuzz")
_ENTRY: Final = MaskedEntry.build("TOKEN", MaskedCredential(scopes=(HOME,)), Secret(REAL), FAKE)
_NEEDLES: Final = needles_of([Swap(FAKE.encode(), REAL.encode())])
_RULE: Final = GraphqlRule.parse(queries=("viewer",))
_CODINGS: Final = ("", "gzip", "deflate", "br", "zstd")


def policy(data: bytes) -> None:
    """Any text is a policy or an error that names the file."""
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode()
        with contextlib.suppress(ConfigError):
            decide(RequestFacts("GET", "https", HOME, 443, b"/"), parse_policy(text, "file"))


def config(data: bytes) -> None:
    """Any text is a configuration or an error in words."""
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode()
        with contextlib.suppress(ConfigError):
            load_yaml_model(text, "file", InstallationConfig)


def path(data: bytes) -> None:
    """A path rule allows only what every server reads below its prefix."""
    allowed = decide(RequestFacts("GET", "https", HOME, 443, data), _POLICY).allow
    decoded = decode_path(data)
    if not allowed:
        return
    raw = data.partition(b"?")[0]
    once = unquote_to_bytes(raw)
    assert once.startswith(b"/repos/mine/"), data
    for reading in (raw, once, unquote_to_bytes(once)):
        segments = [part.partition(b";")[0] for part in reading.replace(b"\\", b"/").split(b"/")[1:]]
        assert b".." not in segments, data
        assert b"." not in segments, data
    assert decoded.ambiguous is None


def host(data: bytes) -> None:
    """A canonical name stays one, and is never an address; also where a port follows it."""
    try:
        name = canonical_host(data)
    except BadName:
        with contextlib.suppress(BadName):
            name, port = read_authority(data)
            assert port is not None
            assert read_authority(f"{name}:{port}".encode()) == (name, port)
        return
    assert read_authority(name.encode()) == (name, None)
    assert canonical_host(name) == name
    assert name == name.lower()
    assert not name.endswith(".")
    assert not is_address_literal(name)


def headers(data: bytes) -> None:
    """A real value goes to its host, in its header, over TLS, and nowhere else; no other account goes along."""
    basic = base64.b64encode(f"x-access-token:{FAKE}".encode())
    text = data.replace(b"\x01", b"Basic " + basic).replace(b"\x00", FAKE.encode())
    parts = [line.partition(b":") for line in text.split(b"\n")]
    lines = [(name, value) for name, _, value in parts]
    for where, tls in ((HOME, True), (HOME, False), ("other.test", True)):
        done = substitute(lines, where, target=b"/?" + data[:40], tls=tls, credentials=(_ENTRY,))
        for name, value in done.headers:
            shown = readable(value)
            if is_carrier(normal_name(name), value):
                assert FAKE.encode() not in shown, data
            if REAL.encode() in shown:
                assert (where, tls, normal_name(name)) == (HOME, True, "authorization"), data
            elif where == HOME:
                assert not is_carrier(normal_name(name), value) or normal_name(name) == "authorization", data
        if done.refusal is not None:
            assert not done.headers


def request_head(data: bytes) -> None:
    """What passes has no byte that two parsers could read in two ways."""
    if head_problem(data) is None and b"\r\n\r\n" in data:
        head = data.partition(b"\r\n\r\n")[0]
        assert b"\n" not in head.replace(b"\r\n", b"")
        assert b"\r" not in head.replace(b"\r\n", b"")
        assert b"\x00" not in head
        names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
        assert names.count(b"host") <= 1
        assert not {b"content-length", b"transfer-encoding"} <= set(names)


def question(data: bytes) -> None:
    """Every datagram is answered with at most one address of ours, or not at all."""
    given, _ = answer(data, SyntheticNames())
    if given is None:
        return
    assert len(given) <= max(512, len(data) + 16)
    read = dns.message.from_wire(given)
    assert given[:2] == data[:2]
    addresses = [record for rrset in read.answer for record in rrset]
    assert len(addresses) <= 1
    for record in addresses:
        assert record.rdtype == dns.rdatatype.A
        assert IPv4Address(record.to_text()) in POOL
    assert not read.authority
    assert not read.additional


def server_tools(data: bytes) -> None:
    """A request of the Messages API goes on with domains of the allowlist alone, and would go on again as it is."""
    try:
        kept = messages_api.trim(data, _DOCS).body
    except messages_api.Refused:
        return
    assert messages_api.trim(kept, _DOCS) == messages_api.Trimmed(kept, cut=False)
    request = parse(kept, max_depth=1000)
    for server in request.get("mcp_servers") or []:
        assert _in_docs(urlsplit(server["url"]).hostname or "")
    for tool in request.get("tools") or []:
        if str(tool.get("type", "")).startswith("web_"):
            assert tool["allowed_domains"]
            for domain in tool["allowed_domains"]:
                assert _in_docs(domain.partition("/")[0])


def _in_docs(name: str) -> bool:
    return canonical_host(name).endswith(".docs.test") or canonical_host(name) == "docs.test"


def operation(data: bytes) -> None:
    """What is allowed has only fields that the rule lists."""
    verdict = judge(
        (_RULE,),
        method="POST",
        raw_target=b"/graphql",
        content_type="application/json",
        content_encoding="",
        body=data,
    )
    if not verdict.allow or verdict.body is None:
        return
    document = graphql.parse(read_body(verdict.body).query)
    for node in document.definitions:
        if isinstance(node, graphql.OperationDefinitionNode):
            names = {
                one.name.value for one in node.selection_set.selections if isinstance(one, graphql.FieldNode)
            }
            is_query = node.operation is graphql.OperationType.QUERY
            assert names <= ({"viewer", "__typename"} if is_query else {"__typename"}), data


def scrub(data: bytes) -> None:
    """No piece of any body brings a real value through."""
    if not data:
        return
    body = data[2:].replace(b"\x01", REAL.encode())
    try:
        scrubber = AnswerScrubber(_NEEDLES, _CODINGS[data[0] % len(_CODINGS)])
        step = data[1] % 37 + 1 if len(data) > 1 else 1
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        out = b"".join(part for piece in [*pieces, b""] for part in scrubber(piece))
    except Undecodable:
        return
    assert REAL.encode() not in out


def dockerfile(data: bytes) -> None:
    """Any text is refused or has bases that are names of images."""
    with contextlib.suppress(UnicodeDecodeError, DockerfileRefused):
        for base in check_dockerfile(data.decode(), {}):
            assert base
            assert "://" not in base
            assert not base.startswith(("oci:", "dir:", "/"))


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        *(policy, config, path, host, headers, request_head, question, operation, server_tools, scrub),
        *(dockerfile, chunks, signature, installation, mail_author, mail_content, auth_results),
        *(mail_form, thread, addresses, arc_chain),
    )
}
