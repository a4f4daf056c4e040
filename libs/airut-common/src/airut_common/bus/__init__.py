"""The bus between the services: NATS JetStream behind a small interface."""

from airut_common.bus.core import Bus, Endpoint, KvEntry, StoredMessage, open_bus
from airut_common.bus.errors import BusTooOld, BusUnavailable, Reject, Retry

__all__ = [
    "Bus",
    "BusTooOld",
    "BusUnavailable",
    "Endpoint",
    "KvEntry",
    "Reject",
    "Retry",
    "StoredMessage",
    "open_bus",
]
