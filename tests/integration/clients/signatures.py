"""What S3 does with a signature, by means of botocore's own signer: made anew with the real key, and compared."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from airut_egress.testing.origin import Seen

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)"
)


class SignatureWrong(Exception):
    """The request is not what the owner of the key signed."""


def check_signature(seen: Seen, secrets: Mapping[str, str]) -> tuple[bytes, str]:
    """The content of a signed request, and over which kind of payload it was signed.

    Raises:
        SignatureWrong: it is not signed with this key, or its body is another one.
    """
    if "X-Amz-Signature=" in seen.target:
        return _check_presigned(seen, secrets), "presigned"
    match = _AUTHORIZATION.fullmatch(seen.header("authorization") or "")
    if match is None or match[1] != secrets["AWS_ACCESS_KEY_ID"]:
        raise SignatureWrong(f"signed with another key: {seen.header('authorization')}")
    host = seen.header(":authority") or seen.header("host")
    request = AWSRequest(method=seen.method, url=f"https://{host}{seen.target}")
    for name in match[4].split(";"):
        request.headers[name] = host if name == "host" else seen.header(name)
    request.context["timestamp"] = seen.header("x-amz-date")
    auth = S3SigV4Auth(Credentials(match[1], secrets["AWS_SECRET_ACCESS_KEY"]), "s3", match[3])
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not hmac.compare_digest(signature, match[5]):
        raise SignatureWrong("the signature does not match")
    payload = seen.header("x-amz-content-sha256") or ""
    if payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
        return _decoded(seen.body), payload
    if payload != "UNSIGNED-PAYLOAD" and hashlib.sha256(seen.body).hexdigest() != payload:
        raise SignatureWrong("the body is another one")
    return seen.body, payload if payload.isupper() else "digest"


def _check_presigned(seen: Seen, secrets: Mapping[str, str]) -> bytes:
    target, _, signature = seen.target.rpartition("&X-Amz-Signature=")
    request = AWSRequest(method=seen.method, url=f"https://{seen.header('host')}{target}")
    query = dict(parse_qsl(urlsplit(target).query))
    key_id, _, region, *_ = query["X-Amz-Credential"].split("/")
    if key_id != secrets["AWS_ACCESS_KEY_ID"]:
        raise SignatureWrong(f"signed with another key: {key_id}")
    request.context["timestamp"] = query["X-Amz-Date"]
    auth = S3SigV4QueryAuth(Credentials(key_id, secrets["AWS_SECRET_ACCESS_KEY"]), "s3", region)
    made = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not hmac.compare_digest(made, signature):
        raise SignatureWrong("the signature does not match")
    return seen.body


def _decoded(body: bytes) -> bytes:
    """The content of an `aws-chunked` body."""
    content = b""
    while body:
        line, _, rest = body.partition(b"\r\n")
        size = int(line, 16)
        if size == 0:
            break
        content += rest[:size]
        body = rest[size + 2 :]
    return content
