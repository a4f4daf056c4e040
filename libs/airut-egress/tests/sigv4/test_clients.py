"""What boto3 clients really send, taken just before the network."""

import uuid
from unittest import mock
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from airut_egress.sigv4 import KeyPair, find_key_id, resign

from .signing import NOW, REAL, REAL_STS, SURROGATE, SURROGATE_STS, Signed, clock, resigned

FIXED = uuid.UUID(int=1)


def sent_by(pair: KeyPair, service: str, call, **config) -> Signed:
    """The request that a call makes."""
    client = boto3.client(
        service,
        region_name="eu-west-1",
        aws_access_key_id=pair.access_key_id,
        aws_secret_access_key=pair.secret,
        aws_session_token=pair.session_token,
        config=Config(retries={"total_max_attempts": 1}, **config),
    )
    seen = []

    def send(request, **_):
        seen.append(request)
        return AWSResponse(request.url, 200, {}, mock.Mock(stream=lambda: [b"{}"]))

    client.meta.events.register("before-send", send)
    with clock(NOW), mock.patch("uuid.uuid4", return_value=FIXED):
        try:
            call(client)
        except Exception:
            assert seen
    request = seen[0]
    parts = urlsplit(request.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = [(b"Host", parts.netloc.encode())]
    for name, value in request.headers.items():
        headers.append((name.encode(), value if isinstance(value, bytes) else str(value).encode()))
    body = request.body or b""
    body = body.read() if hasattr(body, "read") else body
    return Signed(
        request.method,
        parts.netloc,
        target.encode(),
        headers,
        body.encode() if isinstance(body, str) else body,
    )


CALLS = {
    "s3-list": ("s3", lambda c: c.list_objects_v2(Bucket="bucket", Prefix="a b/ü+&=*", Delimiter="/")),
    "s3-get": ("s3", lambda c: c.get_object(Bucket="bucket", Key="a b//../ü+&=*!'()@:$,;~")),
    "s3-put": ("s3", lambda c: c.put_object(Bucket="bucket", Key="key", Body=b"x" * 3000, Metadata={"a": "b  c"})),
    "s3-copy": ("s3", lambda c: c.copy_object(Bucket="b", Key="k", CopySource={"Bucket": "c", "Key": "ü d"})),
    "s3-delete": ("s3", lambda c: c.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "k"}]})),
    "s3-tagging": ("s3", lambda c: c.get_object_tagging(Bucket="b", Key="k", VersionId="a/b=")),
    "dynamodb": ("dynamodb", lambda c: c.get_item(TableName="t", Key={"id": {"S": "1"}})),
    "sts": ("sts", lambda c: c.get_caller_identity()),
    "ec2": ("ec2", lambda c: c.describe_instances(Filters=[{"Name": "tag:a b", "Values": ["*"]}])),
    "sqs": ("sqs", lambda c: c.send_message(QueueUrl="https://sqs.eu-west-1.amazonaws.com/1/q", MessageBody="x")),
    "lambda": ("lambda", lambda c: c.invoke(FunctionName="arn:aws:lambda:eu-west-1:123456789012:function:f", Payload=b"{}")),
    "bedrock": (
        "bedrock-runtime",
        lambda c: c.invoke_model(modelId="arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.a:0", body=b"{}"),
    ),
    "eks-tags": ("eks", lambda c: c.list_tags_for_resource(resourceArn="arn:aws:eks:eu-west-1:1:cluster/a")),
    "iam": ("iam", lambda c: c.list_users()),
    "s3control": ("s3control", lambda c: c.list_access_points(AccountId="123456789012")),
    "route53": ("route53", lambda c: c.list_hosted_zones()),
}  # fmt: skip


@pytest.mark.parametrize(("surrogate", "real"), [(SURROGATE, REAL), (SURROGATE_STS, REAL_STS)])
@pytest.mark.parametrize("name", CALLS)
def test_what_a_client_sends_comes_out_as_with_the_real_key(name, surrogate, real):
    signed, expected = (sent_by(pair, *CALLS[name]) for pair in (surrogate, real))
    assert find_key_id(signed.headers, signed.target) == surrogate.access_key_id
    result = resigned(signed, surrogate, real)
    if result.body.kind == "needs-body":
        result = resign(**signed.arguments(), surrogate=surrogate, real=real, now=NOW, body=signed.body)
    assert sorted(result.headers) == sorted(expected.headers)
    assert result.target == expected.target
    if result.body.kind == "hashed":
        check = result.body.check()
        check.update(signed.body)
        check.finish()


def test_uploads_with_a_trailing_checksum():
    signed = sent_by(SURROGATE, *CALLS["s3-put"])
    assert signed.get("x-amz-content-sha256") == b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    chunks = resigned(signed).body.chunks
    made = b"".join(chunks.feed(signed.body[at : at + 7]) for at in range(0, len(signed.body), 7))
    chunks.finish()
    assert made == signed.body


@pytest.mark.parametrize("method", ["get_object", "put_object"])
def test_presigned_urls(method):
    urls = []
    for pair in (SURROGATE_STS, REAL_STS):
        client = boto3.client(
            "s3",
            region_name="eu-west-1",
            aws_access_key_id=pair.access_key_id,
            aws_secret_access_key=pair.secret,
            aws_session_token=pair.session_token,
            config=Config(signature_version="s3v4"),
        )
        with clock(NOW):
            url = client.generate_presigned_url(method, Params={"Bucket": "b", "Key": "a b/ü+"}, ExpiresIn=60)
        urls.append(urlsplit(url))
    host = urls[0].netloc
    targets = [f"{url.path}?{url.query}".encode() for url in urls]
    signed = Signed("GET" if method == "get_object" else "PUT", host, targets[0], [(b"host", host.encode())])
    assert resigned(signed, SURROGATE_STS, REAL_STS).target == targets[1]
