import hashlib
import io
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig

BUCKET = "bucket"
CONTENT = bytes(range(256)) * (12 * 4096)
PARTS = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)

s3 = boto3.client("s3", region_name="eu-central-1", endpoint_url="https://s3.example.test")


def digest_of(key):
    return hashlib.sha256(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()).hexdigest()


s3.put_object(Bucket=BUCKET, Key="a key+1.txt", Body=b"small")
print(s3.get_object(Bucket=BUCKET, Key="a key+1.txt")["Body"].read())
s3.upload_fileobj(io.BytesIO(CONTENT), BUCKET, "large", Config=PARTS)
# Checksums behind the body, as newer versions send them without being asked.
s3.upload_fileobj(
    io.BytesIO(CONTENT), BUCKET, "with-checksums", Config=PARTS, ExtraArgs={"ChecksumAlgorithm": "SHA256"}
)
print({digest_of("large"), digest_of("with-checksums")} == {hashlib.sha256(CONTENT).hexdigest()})
url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a key+1.txt"})
with urllib.request.urlopen(url) as answer:
    print(answer.read())
