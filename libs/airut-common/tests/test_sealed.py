"""Secrets that anybody may write and one service may read."""

import asyncio
import os
import stat
import threading
from pathlib import Path

import pytest

from airut_common import log as logs
from airut_common.bus import Bus
from airut_common.bus.topology import SEALED_BUCKET
from airut_common.sealed import (
    MAX_VALUE_BYTES,
    ServiceKey,
    list_sealed,
    remove_sealed,
    seal,
    sealed_key,
    service_public_key,
    store_sealed,
    watch_secrets,
)

LIMIT = 20
VALUE = "correct-horse-battery"


@pytest.fixture
def key(tmp_path: Path) -> ServiceKey:
    return ServiceKey.load_or_create(tmp_path / "key")


def test_row_81_the_key_s_file_is_private_and_the_key_stays(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        first = ServiceKey.load_or_create(tmp_path / "key")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert ServiceKey.load_or_create(tmp_path / "key").public == first.public
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_two_who_start_at_once_share_one_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(ServiceKey.load_or_create(tmp_path / "key").public))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe", b"!" * 44])
def test_a_broken_key_file_is_said_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match="holds no service key"):
        ServiceKey.load_or_create(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == content


def test_only_the_owner_of_the_key_opens_it(key: ServiceKey, tmp_path: Path) -> None:
    sealed = seal(key.public, VALUE)
    assert VALUE.encode() not in sealed
    assert key.open(sealed).reveal() == VALUE
    assert seal(key.public, VALUE) != sealed
    other = ServiceKey.load_or_create(tmp_path / "other")
    for opener, data in ((other, sealed), (key, sealed[:-1]), (key, b""), (key, b"\0" * 100)):
        with pytest.raises(ValueError, match="another key, or damaged"):
            opener.open(data)


def test_a_value_has_a_limit(key: ServiceKey) -> None:
    assert key.open(seal(key.public, "x" * MAX_VALUE_BYTES)).reveal() == "x" * MAX_VALUE_BYTES
    with pytest.raises(ValueError, match="64 KiB at most"):
        seal(key.public, "x" * (MAX_VALUE_BYTES + 1))


def test_the_key_of_a_secret_names_service_and_repository() -> None:
    assert sealed_key("egress-proxy", "demo", "TOKEN") == "egress-proxy.demo.TOKEN"
    assert sealed_key("gateway-email", None, "SMTP") == "gateway-email._.SMTP"


async def test_a_service_sees_its_own_secrets_replaced_and_removed(bus: Bus, key: ServiceKey) -> None:
    assert await service_public_key(bus, "egress-proxy") is None
    async with watch_secrets(bus, "egress-proxy", key) as secrets:
        public = await service_public_key(bus, "egress-proxy")
        assert public == key.public

        async def put(service: str, repo: str | None, value: str) -> None:
            await store_sealed(bus, sealed_key(service, repo, "TOKEN"), seal(public, value))

        async def until(condition) -> None:
            async with asyncio.timeout(LIMIT):
                while not condition():
                    await secrets.wait_changed()

        await put("egress-proxy", "demo", VALUE)
        await put("egress-proxy", None, "installation-wide")
        await put("orchestrator", "demo", "not for us")
        await until(lambda: secrets.get("demo", "TOKEN") and secrets.get(None, "TOKEN"))
        assert secrets.get("demo", "TOKEN").reveal() == VALUE
        assert secrets.get(None, "TOKEN").reveal() == "installation-wide"
        assert secrets.get("other", "TOKEN") is None
        assert logs.clean(f"a {VALUE} b") == "a [redacted] b"

        await put("egress-proxy", "demo", "second-value")
        await until(lambda: secrets.get("demo", "TOKEN").reveal() == "second-value")
        assert logs.clean(f"{VALUE} second-value") == f"{VALUE} [redacted]"

        await remove_sealed(bus, sealed_key("egress-proxy", "demo", "TOKEN"))
        await until(lambda: secrets.get("demo", "TOKEN") is None)
        assert await list_sealed(bus) == {"egress-proxy._.TOKEN", "orchestrator.demo.TOKEN"}
    assert logs.clean("installation-wide") == "installation-wide"


async def test_what_cannot_be_opened_is_not_there_and_hides_nothing(
    bus: Bus, key: ServiceKey, tmp_path: Path
) -> None:
    other = ServiceKey.load_or_create(tmp_path / "other")
    await store_sealed(bus, sealed_key("x", "demo", "LOST"), seal(other.public, VALUE))
    await store_sealed(bus, sealed_key("x", "demo", "JUNK"), b"junk")
    await store_sealed(bus, sealed_key("x", "demo", "GOOD"), seal(key.public, VALUE))
    async with watch_secrets(bus, "x", key) as secrets:
        assert secrets.get("demo", "LOST") is None
        assert secrets.get("demo", "JUNK") is None
        assert secrets.get("demo", "GOOD").reveal() == VALUE


async def test_no_value_is_on_the_bus(bus: Bus, key: ServiceKey) -> None:
    await store_sealed(bus, sealed_key("x", "demo", "TOKEN"), seal(key.public, VALUE))
    info = await bus._js.stream_info(f"KV_{SEALED_BUCKET}")
    for sequence in range(1, info.state.last_seq + 1):
        message = await bus._js.get_msg(f"KV_{SEALED_BUCKET}", sequence)
        assert VALUE.encode() not in message.data
