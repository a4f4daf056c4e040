"""A bucket that takes what the real key has signed, and nothing else."""

import hashlib
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from airut_egress.testing.origin import Answer, Seen

from .signatures import SignatureWrong, check_signature

S3: Final = "s3.example.test"
#: What the sandbox must never see.
S3_SECRETS: Final = {
    "AWS_ACCESS_KEY_ID": "AKIAREALREALREAL0005",
    "AWS_SECRET_ACCESS_KEY": "real/secret+ABCDEFGHIJKLMNOPQRSTUVWXYZ06",
}


@dataclass
class Bucket:
    """Objects by key, and what became of signatures."""

    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """Parts by upload."""
    payloads: set[str] = field(default_factory=set)
    """Kinds of payload that signatures were made over."""
    refused: list[str] = field(default_factory=list)

    def respond(self, seen: Seen) -> Answer:
        """For `Origin.respond`."""
        try:
            content, payload = check_signature(seen, S3_SECRETS)
        except SignatureWrong as error:
            self.refused.append(f"{seen.method} {seen.target}: {error}")
            text = f"<Error><Code>SignatureDoesNotMatch</Code><Message>{error}</Message></Error>"
            return Answer(403, body=text.encode())
        self.payloads.add(payload)
        parts = urlsplit(seen.target)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return self._answer(seen.method, unquote(parts.path), query, content)

    def _answer(self, method: str, key: str, query: dict[str, str], content: bytes) -> Answer:
        etag = [("etag", f'"{hashlib.md5(content).hexdigest()}"')]
        match method:
            case "POST" if "uploads" in query:
                self.uploads[key] = {}
                return _xml("InitiateMultipartUploadResult", f"<UploadId>{key.strip('/')}</UploadId>")
            case "PUT" if "partNumber" in query:
                self.uploads[f"/{query['uploadId']}"][int(query["partNumber"])] = content
                return Answer(200, etag, b"")
            case "POST" if "uploadId" in query:
                done = self.uploads.pop(f"/{query['uploadId']}")
                self.objects[key] = b"".join(done[number] for number in sorted(done))
                return _xml("CompleteMultipartUploadResult", "<ETag>x</ETag>")
            case "PUT":
                self.objects[key] = content
                return Answer(200, etag, b"")
            case "GET" if key in self.objects:
                return Answer(200, etag, self.objects[key])
        return Answer(404, body=b"<Error><Code>NoSuchKey</Code></Error>")


def _xml(element: str, inside: str) -> Answer:
    text = f'<?xml version="1.0"?><{element}>{inside}</{element}>'
    return Answer(200, [("content-type", "application/xml")], text.encode())
