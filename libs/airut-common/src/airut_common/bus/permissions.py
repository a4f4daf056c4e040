"""What each identity may publish and subscribe to. Pure; rendered into the server's configuration.

Services never create or delete streams, never write configuration, and hear only what they are there for.
Each has an inbox prefix of its own, so that nobody can listen to another's answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airut_common.bus.topology import (
    BLOB_BUCKET,
    CONFIG_BUCKET,
    EMAIL_ACKNOWLEDGEMENTS,
    EMAIL_REPLIES,
    EVENTS,
    ORCHESTRATOR_TASKS,
    SEALED_BUCKET,
    STATUS_BUCKET,
    Consumer,
)

ADMIN: Final = "admin"


@dataclass(frozen=True)
class Permissions:
    """Subjects an identity may publish to and subscribe to; nothing else."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    allow_responses: bool = False
    """May answer a request on the reply subject that the request carried."""


def _service(
    name: str, *, publish: tuple[str, ...] = (), subscribe: tuple[str, ...] = (), answers: bool = False
) -> Permissions:
    """What every service needs, and its own."""
    return Permissions(
        publish=(
            "$JS.API.INFO",
            *_follow(f"KV_{CONFIG_BUCKET}"),
            f"$KV.{CONFIG_BUCKET}.keys.{name}",
            *_follow(f"KV_{SEALED_BUCKET}", f"$KV.{SEALED_BUCKET}.{name}.>"),
            f"$KV.{STATUS_BUCKET}.{name}.*",
            f"airut.v1.event.service.{name}",
            *publish,
        ),
        subscribe=(f"_INBOX_{name}.>", *subscribe),
        allow_responses=answers,
    )


def _follow(stream: str, only: str | None = None) -> tuple[str, ...]:
    """Reading a stream through an ephemeral consumer; `only` pins its filter (the server checks that they agree)."""
    create = f"$JS.API.CONSUMER.CREATE.{stream}.*"
    return (
        f"{create}.{only}" if only is not None else f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
        f"$JS.API.STREAM.INFO.{stream}",
    )


def _work(consumer: Consumer) -> tuple[str, ...]:
    """Taking messages from a work queue through its durable consumer, refusing some for good."""
    return (
        f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}",
        f"$JS.ACK.{consumer.stream}.{consumer.name}.>",
        f"airut.v1.dead.{consumer.stream}",
    )


_READ_BLOBS: Final = (
    "$JS.API.STREAM.NAMES",
    f"$JS.API.STREAM.INFO.OBJ_{BLOB_BUCKET}",
    f"$JS.API.STREAM.MSG.GET.OBJ_{BLOB_BUCKET}",
    f"$JS.API.DIRECT.GET.OBJ_{BLOB_BUCKET}.>",
    f"$JS.API.CONSUMER.CREATE.OBJ_{BLOB_BUCKET}",
    f"$JS.API.CONSUMER.CREATE.OBJ_{BLOB_BUCKET}.>",
    f"$JS.API.CONSUMER.DELETE.OBJ_{BLOB_BUCKET}.*",
)
_WRITE_BLOBS: Final = (f"$O.{BLOB_BUCKET}.C.>", f"$O.{BLOB_BUCKET}.M.>")
_MICRO: Final = ("$SRV.>",)

PERMISSIONS: Final[Mapping[str, Permissions]] = {
    ADMIN: Permissions(publish=(">",), subscribe=(">",)),
    "gateway-email": _service(
        "gateway-email",
        publish=(
            "airut.v1.task.requested.*",
            *_work(EMAIL_REPLIES),
            *_work(EMAIL_ACKNOWLEDGEMENTS),
            *_READ_BLOBS,
            *_WRITE_BLOBS,
        ),
    ),
    "orchestrator": _service(
        "orchestrator",
        publish=(
            *_work(ORCHESTRATOR_TASKS),
            # What another reader was given before, and did not live to acknowledge.
            f"$JS.API.STREAM.MSG.GET.{ORCHESTRATOR_TASKS.stream}",
            "airut.v1.reply.*.*",
            "airut.v1.taken.*.*",
            "airut.v1.event.task.>",
            "airut.v1.svc.egress.*.*",
            # Whoever is asked to stop a task asks the host that works on it.
            "airut.v1.svc.orchestrator.*.stop",
            # A restarted egress-proxy is noticed by its entry here.
            *_follow(f"KV_{STATUS_BUCKET}", f"$KV.{STATUS_BUCKET}.egress-proxy.*"),
            *_READ_BLOBS,
            *_WRITE_BLOBS,
        ),
        subscribe=("airut.v1.svc.orchestrator.>", *_MICRO),
        answers=True,
    ),
    "egress-proxy": _service(
        "egress-proxy",
        publish=("airut.v1.event.egress.>",),
        subscribe=("airut.v1.svc.egress.>", *_MICRO),
        answers=True,
    ),
    "dashboard": _service(
        "dashboard", publish=(*_follow(EVENTS.name), "airut.v1.svc.orchestrator._any.stop")
    ),
}
