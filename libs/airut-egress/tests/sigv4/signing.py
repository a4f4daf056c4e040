"""Requests signed by botocore: an implementation that has nothing in common with ours."""

import contextlib
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from unittest import mock
from urllib.parse import urlsplit

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from airut_egress.sigv4 import KeyPair, Resigned, resign

NOW = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)
SURROGATE = KeyPair("AKIASURROGATE0000001", "surrogate/secret+0123456789abcdefghijklm")
REAL = KeyPair("AKIAREALREALREAL0001", "real/secret+ABCDEFGHIJKLMNOPQRSTUVWXYZ012")
SURROGATE_STS = KeyPair(
    "ASIASURROGATE0000002", "surrogate/sts+0123456789abcdefghijklmnop", "c3Vycm9nYXRl/token+0="
)
REAL_STS = KeyPair(
    "ASIAREALREALREAL0002", "real/sts+ABCDEFGHIJKLMNOPQRSTUVWXYZ01234", "cmVhbC90b2tlbg/realtoken+9=="
)


@dataclass
class Signed:
    """A request as it stands on the wire."""

    method: str
    host: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    extra: dict = field(default_factory=dict)

    def get(self, name: str) -> bytes | None:
        found = [value for key, value in self.headers if key.lower() == name.lower().encode()]
        assert len(found) <= 1
        return found[0] if found else None

    def without(self, name: str) -> "Signed":
        headers = [(key, value) for key, value in self.headers if key.lower() != name.lower().encode()]
        return Signed(self.method, self.host, self.target, headers, self.body)

    def having(self, name: str, value: str) -> "Signed":
        return Signed(
            self.method, self.host, self.target, [*self.headers, (name.encode(), value.encode())], self.body
        )

    def arguments(self) -> dict:
        return {
            "method": self.method, "host": self.host, "raw_target": self.target, "headers": self.headers,
        }  # fmt: skip


@contextlib.contextmanager
def clock(at: datetime):
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=at):
        yield


def sign(
    pair: KeyPair,
    method: str = "GET",
    url: str = "https://dynamodb.eu-west-1.amazonaws.com/",
    *,
    service: str = "dynamodb",
    region: str = "eu-west-1",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    at: datetime = NOW,
    expires: int | None = None,
    signer: type | None = None,
    content_sha256: bool = False,
) -> Signed:
    """Sign with botocore; `expires` makes a presigned URL."""
    request = AWSRequest(method=method, url=url, headers=headers or {}, data=body)
    s3 = service == "s3"
    if signer is None:
        header, query = (
            (botocore.auth.S3SigV4Auth, botocore.auth.S3SigV4QueryAuth)
            if s3
            else (botocore.auth.SigV4Auth, botocore.auth.SigV4QueryAuth)
        )
        signer = header if expires is None else query
    if content_sha256 and not s3:
        request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    credentials = Credentials(pair.access_key_id, pair.secret, pair.session_token)
    options = {} if expires is None else {"expires": expires}
    with clock(at):
        signer(credentials, service, region, **options).add_auth(request)
    parts = urlsplit(request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    names = {name.lower() for name in request.headers}
    wire = [] if "host" in names else [(b"Host", parts.netloc.encode())]
    wire += [(name.encode(), str(value).encode()) for name, value in request.headers.items()]
    return Signed(method, parts.netloc, target.encode(), wire, body)


def resigned(
    signed: Signed, surrogate: KeyPair = SURROGATE, real: KeyPair = REAL, *, now: datetime = NOW, **limits
) -> Resigned:
    return resign(**signed.arguments(), surrogate=surrogate, real=real, now=now, **limits)


def header_of(result: Resigned, name: str) -> bytes | None:
    return Signed("GET", "", b"/", result.headers).get(name)


__all__ = [
    "NOW", "REAL", "REAL_STS", "SURROGATE", "SURROGATE_STS", "Signed", "clock", "header_of", "resigned", "sign",
    "timedelta",
]  # fmt: skip
