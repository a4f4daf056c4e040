"""Targets for signed requests and for what GitHub Apps ask."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import graphql

from airut_egress import github_app
from airut_egress.sigv4 import KeyPair, Refused, Resigned, find_key_id, resign
from airut_egress.sigv4.keys import HmacSigner, Scope

NOW: Final = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)
DATE: Final = "20260504T123015Z"
SURROGATE: Final = KeyPair("AKIASURROGATE0000001", "surrogate/secret+0123456789abcdefghijklm")
REAL: Final = KeyPair("AKIAREALREALREAL0001", "real/secret+ABCDEFGHIJKLMNOPQRSTUVWXYZ012")
HOST: Final = "bucket.s3.eu-west-1.amazonaws.com"
CONTENT: Final = (b"first piece of it\r\n", b"0;chunk-signature=", b"last")
_SCOPE: Final = Scope("20260504", "eu-west-1", "s3")
_EMPTY: Final = sha256(b"").hexdigest()
_SIGNER: Final = HmacSigner(SURROGATE.secret, _SCOPE)
_SIGNED: Final = "host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length"
_PAYLOAD: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


def _head(target: bytes = b"/key") -> tuple[list[tuple[bytes, bytes]], str]:
    values = {
        "host": HOST,
        "x-amz-content-sha256": _PAYLOAD,
        "x-amz-date": DATE,
        "x-amz-decoded-content-length": str(sum(map(len, CONTENT))),
    }
    lines = "".join(f"{name}:{value}\n" for name, value in values.items())
    canonical = f"PUT\n{target.decode()}\n\n{lines}\n{_SIGNED}\n{_PAYLOAD}"
    text = f"AWS4-HMAC-SHA256\n{DATE}\n{_SCOPE.text}\n{sha256(canonical.encode()).hexdigest()}"
    signature = _SIGNER.sign(text.encode())
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={SURROGATE.access_key_id}/{_SCOPE.text}, SignedHeaders={_SIGNED}, "
        f"Signature={signature}"
    )
    headers = [(name.encode(), value.encode()) for name, value in values.items()]
    return [*headers, (b"authorization", authorization.encode())], signature


_HEADERS, _SEED = _head()


def _body() -> bytes:
    last, body = _SEED, b""
    for data in (*CONTENT, b""):
        text = (
            f"AWS4-HMAC-SHA256-PAYLOAD\n{DATE}\n{_SCOPE.text}\n{last}\n{_EMPTY}\n{sha256(data).hexdigest()}"
        )
        last = _SIGNER.sign(text.encode())
        body += b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), last.encode(), data)
    return body


_BODY: Final = _body()


def _resigned(headers: list[tuple[bytes, bytes]], target: bytes) -> Resigned:
    return resign(
        method="PUT", host=HOST, raw_target=target, headers=headers, surrogate=SURROGATE, real=REAL, now=NOW
    )


def chunks(data: bytes) -> None:
    """A body that was changed anywhere never passes whole, and what passes of it is what was signed."""
    if len(data) < 4:
        return
    at, cut, step, new = data[0] * 256 + data[1], data[2] % 16, data[3] % 50 + 1, data[4:]
    body = _BODY[: at % len(_BODY)] + new + _BODY[at % len(_BODY) + cut :]
    rule = _resigned(_HEADERS, b"/key").body.chunks
    assert rule is not None
    passed = b""
    whole = False
    try:
        for start in range(0, len(body), step):
            passed += rule.feed(body[start : start + step])
        rule.finish()
        whole = True
    except Refused:
        pass
    sent = _unframed(passed)
    assert b"".join(CONTENT).startswith(b"".join(sent)), data
    if whole:
        assert b"".join(sent) == b"".join(CONTENT), data
        assert len(passed) == len(body), data


def _unframed(passed: bytes) -> list[bytes]:
    found = []
    while passed:
        line, _, rest = passed.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        found.append(rest[:size])
        passed = rest[size + 2 :]
    return found


def signature(data: bytes) -> None:
    """Whatever stands in the header and the target is refused, or is what was signed."""
    written, _, target = data.partition(b"\n")
    headers = [*_HEADERS[:-1], (b"authorization", written)]
    for tried, raw in ((headers, b"/key"), (_HEADERS, b"/" + target), (_HEADERS[:-1], b"/key?" + target)):
        try:
            find_key_id(tried, raw)
            done = _resigned(tried, raw)
            resign(
                method="PUT", host=HOST, raw_target=raw, headers=tried, surrogate=SURROGATE, real=REAL, now=NOW,
                body=b"",
            )  # fmt: skip
        except Refused:
            continue
        sent = b"".join(value for _, value in done.headers) + done.target
        assert SURROGATE.access_key_id.encode() not in sent, data


def installation(data: bytes) -> None:
    """A document that names a repository outside is refused; none makes the judge raise."""
    try:
        text = data.decode()
        document = graphql.parse(text, no_location=True)
    except (UnicodeDecodeError, graphql.GraphQLError, RecursionError):
        return
    variables = {"o": "evil", "n": "x", "i": "MDEwOlJlcG9zaXRvcnk5OTk="}
    told = github_app.judge(
        document, variables, repositories=frozenset({"mine/own"}), repository_ids=frozenset({1})
    )
    if told is None:
        for node in document.definitions:
            assert not _names_another(node), json.dumps(text)


def _names_another(node: graphql.DefinitionNode) -> bool:
    """Only the plainest form: `{repository(owner: "evil", name: …)}`."""
    if not isinstance(node, graphql.OperationDefinitionNode):
        return False
    for field in node.selection_set.selections:
        if isinstance(field, graphql.FieldNode) and field.name.value == "repository":
            for argument in field.arguments or ():
                if argument.name.value == "owner" and isinstance(argument.value, graphql.StringValueNode):
                    return argument.value.value.lower() != "mine"
    return False
