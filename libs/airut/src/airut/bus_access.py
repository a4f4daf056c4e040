"""The operator's own connection to the bus, as the identity `admin`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airut.errors import UsageError
from airut.identities import seed_file
from airut.installation import Installation
from airut.services import ADMIN
from airut_common.bus import Bus, BusTooOld, BusUnavailable, open_bus


def bus_url(installation: Installation) -> str:
    """The URL of the installation's bus.

    Raises:
        UsageError: when the embedded server has never been started.
    """
    if installation.config.nats_url is not None:
        return installation.config.nats_url
    try:
        port = int((installation.nats / "port").read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise UsageError(
            f"{installation.config_file}: this installation has not been started yet; run `airut up`"
        ) from None
    return f"nats://127.0.0.1:{port}"


@asynccontextmanager
async def admin_bus(installation: Installation) -> AsyncIterator[Bus]:
    """Connect as `admin`.

    Raises:
        UsageError: when nothing answers, or a server that is too old.
    """
    url = bus_url(installation)
    try:
        async with open_bus(url, name=ADMIN, nkey_seed_file=seed_file(installation.keys, ADMIN)) as bus:
            yield bus
    except BusUnavailable as error:
        remedy = (
            "is `airut up` running?"
            if installation.config.nats_url is None
            else "nats_url names where it should be"
        )
        raise UsageError(f"the bus at {url} does not answer ({error}); {remedy}") from None
    except BusTooOld as error:
        raise UsageError(f"the bus at {url}: {error}") from None
