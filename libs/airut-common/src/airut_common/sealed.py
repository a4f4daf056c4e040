"""Secrets sealed to the one service that needs them (libsodium sealed boxes): anybody may write, only it may read."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from airut_common import log as logs
from airut_common.bus import Bus, KvEntry
from airut_common.bus.topology import CONFIG_BUCKET, SEALED_BUCKET
from airut_common.bus.watching import snapshot, watching
from airut_common.private_file import create_private
from airut_common.secrets import Secret

INSTALLATION_SCOPE = "_"
"""Stands for the repository of a secret that belongs to no repository; no repository id can be this."""
MAX_VALUE_BYTES = 64 * 1024

log = structlog.get_logger()


class ServiceKey:
    """A service's private key. It never leaves its file and this process."""

    def __init__(self, private: PrivateKey) -> None:
        self._private = private

    @classmethod
    def load_or_create(cls, path: Path) -> "ServiceKey":
        """Read the key, or make it (0600).

        Raises:
            ValueError: the file holds no key.
        """
        if not path.exists():
            create_private(path, base64.b64encode(bytes(PrivateKey.generate())) + b"\n")
        try:
            return cls(PrivateKey(base64.b64decode(path.read_bytes(), validate=False)))
        except (CryptoError, ValueError, TypeError):
            raise ValueError(f"{path} holds no service key") from None

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return bytes(self._private.public_key)

    def open(self, sealed: bytes) -> Secret:
        """Open what was sealed to this key.

        Raises:
            ValueError: it was sealed to another key, or is damaged.
        """
        try:
            return Secret(SealedBox(self._private).decrypt(sealed).decode())
        except (CryptoError, UnicodeDecodeError):
            raise ValueError("sealed to another key, or damaged") from None


def seal(public_key: bytes, value: str) -> bytes:
    """Seal a value to a service.

    Raises:
        ValueError: the value is too long.
    """
    if len(value.encode()) > MAX_VALUE_BYTES:
        raise ValueError(f"a secret may have {MAX_VALUE_BYTES // 1024} KiB at most")
    return bytes(SealedBox(PublicKey(public_key)).encrypt(value.encode()))


def sealed_key(service: str, repo: str | None, name: str) -> str:
    """The key of a secret in the `airut_sealed` bucket."""
    return f"{service}.{repo or INSTALLATION_SCOPE}.{name}"


async def publish_key(bus: Bus, service: str, key: ServiceKey) -> None:
    """Let others seal to this service."""
    await bus.kv_put(CONFIG_BUCKET, f"keys.{service}", base64.b64encode(key.public))


async def service_public_key(bus: Bus, service: str) -> bytes | None:
    """The key to seal to; None when the service has never run."""
    entry = await bus.kv_get(CONFIG_BUCKET, f"keys.{service}")
    return base64.b64decode(entry.value) if entry is not None and entry.value else None


async def store_sealed(bus: Bus, key: str, sealed: bytes) -> None:
    """Write a sealed value."""
    await bus.kv_put(SEALED_BUCKET, key, sealed)


async def remove_sealed(bus: Bus, key: str) -> None:
    """Forget a value."""
    await bus.kv_delete(SEALED_BUCKET, key)


async def list_sealed(bus: Bus) -> set[str]:
    """Keys of all values that are set."""
    return set(await snapshot(bus, SEALED_BUCKET))


class WatchedSecrets:
    """A service's own secrets as they are now; a replaced value is used from the next `get` on."""

    def __init__(self, service: str, key: ServiceKey) -> None:
        self._prefix = f"{service}."
        self._key = key
        self._values: dict[str, Secret] = {}
        self._complete = False
        self._changed = asyncio.Event()

    def get(self, repo: str | None, name: str) -> Secret | None:
        """The value; None when it is not set, or cannot be opened."""
        return self._values.get(f"{repo or INSTALLATION_SCOPE}.{name}")

    async def wait_changed(self) -> None:
        """Return once something has changed since the last call; no change in between is missed."""
        await self._changed.wait()
        self._changed.clear()

    def _take(self, entry: KvEntry) -> None:
        name = entry.key.removeprefix(self._prefix)
        old, new = self._values.pop(name, None), self._open(name, entry.value)
        if new is not None:
            logs.redact(new)
            self._values[name] = new
        if old is not None:
            logs.forget(old)
        # After a lost connection everything is told again: what is as it was is no change.
        if self._complete and old != new:
            self._changed.set()

    def _open(self, name: str, sealed: bytes | None) -> Secret | None:
        if sealed is None:
            return None
        try:
            return self._key.open(sealed)
        except ValueError as error:
            log.error("secret_unreadable", name=name, reason=str(error))
            return None

    def _forget_all(self) -> None:
        logs.forget(*self._values.values())
        self._values.clear()


@asynccontextmanager
async def watch_secrets(bus: Bus, service: str, key: ServiceKey) -> AsyncIterator[WatchedSecrets]:
    """Publish the service's key, then follow its secrets while the context is open.

    Raises:
        BusUnavailable: they could not be read.
    """
    await publish_key(bus, service, key)
    secrets = WatchedSecrets(service, key)

    async def take(entry: KvEntry) -> None:
        secrets._take(entry)

    async with watching(bus, SEALED_BUCKET, f"{service}.>", take):
        secrets._complete = True
        try:
            yield secrets
        finally:
            secrets._forget_all()
