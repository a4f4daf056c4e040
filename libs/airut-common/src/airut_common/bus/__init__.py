"""The bus between the services: NATS JetStream behind a small interface."""

from airut_common.bus.answers import Endpoint
from airut_common.bus.connect import open_bus
from airut_common.bus.core import Bus
from airut_common.bus.errors import BusTooOld, BusUnavailable, MessageTooLarge, Reject, Retry
from airut_common.bus.follow import StoredMessage
from airut_common.bus.keys import KvEntry

__all__ = [
    "Bus",
    "BusTooOld",
    "BusUnavailable",
    "Endpoint",
    "KvEntry",
    "MessageTooLarge",
    "Reject",
    "Retry",
    "StoredMessage",
    "open_bus",
]
