"""Bodies in signed chunks as a client writes them."""

import hashlib
import hmac

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from airut_egress.sigv4 import KeyPair

from .signing import NOW, Signed, clock

EMPTY = hashlib.sha256(b"").hexdigest()
URL = "https://bucket.s3.eu-west-1.amazonaws.com/key"


def start(pair: KeyPair, kind: str, length: int, trailers=(), more=None, *, url=URL, at=NOW) -> Signed:
    """The head of such a request, signed by botocore."""
    headers = {"Content-Encoding": "aws-chunked", "x-amz-decoded-content-length": str(length)} | (more or {})
    if trailers:
        headers["x-amz-trailer"] = ",".join(trailers)
    request = AWSRequest(method="PUT", url=url, headers=headers)
    auth = botocore.auth.S3SigV4Auth(Credentials(pair.access_key_id, pair.secret), "s3", "eu-west-1")
    auth.payload = lambda _: kind
    with clock(at):
        auth.add_auth(request)
    _, _, host, path = url.split("/", 3)
    wire = [(b"host", host.encode()), *((k.encode(), str(v).encode()) for k, v in request.headers.items())]
    return Signed("PUT", host, b"/" + path.encode(), wire)


def signature_of(signed: Signed) -> str:
    """What the chain begins with."""
    return signed.get("authorization").decode().rpartition("=")[2]


def chain(
    pair: KeyPair, seed: str, chunks, trailers=None, date="20260504", time="123015", region="eu-west-1"
):
    """The body as its sender writes it; written from the documentation, with nothing of the code under test."""
    key = b"AWS4" + pair.secret.encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()

    def link(kind: str, last: str, digests: str) -> str:
        scope = f"{date}/{region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256-{kind}\n{date}T{time}Z\n{scope}\n{last}\n{digests}"
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    body, signatures = b"", []
    for data in [*chunks, b""]:
        seed = link("PAYLOAD", seed, f"{EMPTY}\n{hashlib.sha256(data).hexdigest()}")
        signatures.append(seed)
        body += f"{len(data):x};chunk-signature={seed}\r\n".encode() + data
        if data or trailers is None:
            body += b"\r\n"
    if trailers is not None:
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(trailers.items()))
        seed = link("TRAILER", seed, hashlib.sha256(lines.encode()).hexdigest())
        signatures.append(seed)
        body += lines.replace("\n", "\r\n").encode() + f"x-amz-trailer-signature:{seed}\r\n\r\n".encode()
    return body, signatures
