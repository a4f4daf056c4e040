"""What is fuzzed: each target takes any bytes, and raises when a promise is broken."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import graphql

from airut_common.config.models import MaskedCredential
from airut_common.config.yamlfile import ConfigError
from airut_common.secrets import Secret
from airut_egress import dns
from airut_egress.carriers import is_carrier, normal_name
from airut_egress.credentials import MaskedEntry, substitute
from airut_egress.interception.head import head_problem
from airut_egress.names import BadName, canonical_host, is_address_literal
from airut_egress.paths import decode_path
from airut_egress.policy import RequestFacts, decide, parse_policy
from airut_egress.policy.graphql import GraphqlRule, judge
from airut_egress.policy.graphql_request import read_body
from airut_egress.scrub import AnswerScrubber, Undecodable, needles_of
from airut_egress.swap import Swap
from airut_sandbox.dockerfile import DockerfileRefused, check_dockerfile
from fuzz.mail import auth_results, mail_author

REAL: Final = "ghp_" + "R" * 18 + "7" * 18
FAKE: Final = "ghp_" + "F" * 18 + "3" * 18
HOME: Final = "api.example.test"
_POLICY: Final = parse_policy(
    f"url_prefixes:\n  - {{host: {HOME}, path: '/repos/mine/*', methods: [GET]}}\n", "fuzz"
)
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
    """A canonical name stays one, and is never an address."""
    try:
        name = canonical_host(data)
    except BadName:
        return
    assert canonical_host(name) == name
    assert name == name.lower()
    assert not name.endswith(".")
    assert not is_address_literal(name)


def headers(data: bytes) -> None:
    """A real value goes to its host, in its header, over TLS, and nowhere else; no other account goes along."""
    parts = [line.partition(b":") for line in data.replace(b"\x00", FAKE.encode()).split(b"\n")]
    lines = [(name, value) for name, _, value in parts]
    for where, tls in ((HOME, True), (HOME, False), ("other.test", True)):
        done = substitute(lines, where, target=b"/?" + data[:40], tls=tls, credentials=(_ENTRY,))
        for name, value in done.headers:
            if REAL.encode() in value:
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
    answer, _ = dns.answer(data, dns.SyntheticNames())
    assert answer is None or len(answer) <= max(512, len(data) + 16)


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
        *(policy, path, host, headers, request_head, question, operation, scrub, dockerfile),
        *(mail_author, auth_results),
    )
}
