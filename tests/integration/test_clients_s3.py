"""boto3 in a real sandbox, signing with the surrogate of a key, at a service that verifies signatures of the real one."""

from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from airut_egress.testing.origin import Origin
from airut_sandbox.podman import Podman
from airut_sandbox.testing.containers import base_image, podman

from .clients.image import ensure_clients_image
from .clients.s3 import S3, S3_SECRETS, Bucket
from .clients.stage import Played, play

__all__ = ["base_image", "podman"]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),  # the image may have to be built first
]

PROGRAMS = Path(__file__).parent / "clients" / "s3_programs"
POLICY = f"domains: [{S3}, '*.{S3}']\n"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": {
        "type": "aws-sigv4",
        "scopes": [S3, f"*.{S3}"],
        "services": ["s3"],
        "regions": ["eu-central-1"],
    }
}
LARGE_BYTES = 12 * 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    tmp_path_factory: pytest.TempPathFactory, podman: Podman, base_image: str
) -> tuple[Played, Bucket, Origin]:
    """All programs have run."""
    folder = tmp_path_factory.mktemp("s3")
    image = await ensure_clients_image(podman, base_image)
    names, bucket = (S3, f"bucket.{S3}"), Bucket()
    async with Origin(names, trustme.CA()).running() as origin:
        origin.respond = bucket.respond
        ca_file = str(origin.write_ca(folder / "ca.pem"))
        egress = {"ca_file": ca_file, "connect_to": dict.fromkeys(names, origin.tls_address)}
        settings = {"credentials": CREDENTIALS, "egress": egress}
        done = await play(PROGRAMS, folder, image=image, policy=POLICY, settings=settings, secrets=S3_SECRETS)
    return done, bucket, origin


async def test_it_did_its_work(played: tuple[Played, Bucket, Origin]) -> None:
    done, _, _ = played
    assert done.codes == {"with_boto3": 0}, done.output
    assert done.output["with_boto3"] == "b'small'\nTrue\nb'small'\n"


async def test_every_request_was_signed_with_the_real_key(played: tuple[Played, Bucket, Origin]) -> None:
    done, bucket, origin = played
    assert bucket.refused == []
    assert len(origin.seen) == len(done.requests())
    assert {event.credentials for event in done.requests()} == {("AWS_ACCESS_KEY_ID",)}


async def test_each_side_knows_its_own_key_alone(played: tuple[Played, Bucket, Origin]) -> None:
    done, _, origin = played
    arrived = repr(origin.seen)
    for name, real in S3_SECRETS.items():
        assert done.environment[name] != real
        assert done.environment[name] not in arrived
        assert real not in done.output["with_boto3"]


async def test_parts_and_kinds_of_payload(played: tuple[Played, Bucket, Origin]) -> None:
    _, bucket, origin = played
    sizes = {key.rpartition("/")[2]: len(content) for key, content in bucket.objects.items()}
    assert sizes == {"a key+1.txt": 5, "large": LARGE_BYTES, "with-checksums": LARGE_BYTES}
    assert bucket.uploads == {}
    assert sum("partNumber=" in seen.target for seen in origin.seen) == 6
    assert {"presigned", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"} <= bucket.payloads
