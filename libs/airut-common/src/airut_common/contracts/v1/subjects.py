"""Every subject, in one place: permissions, streams and services are written against these names."""

from typing import Final

PREFIX: Final = "airut.v1"


def task_requested(repo: str) -> str:
    """Where a channel asks for work on a repository."""
    return f"{PREFIX}.task.requested.{repo}"


def reply(channel: str, repo: str) -> str:
    """Where the orchestrator hands a finished reply to a channel's gateway."""
    return f"{PREFIX}.reply.{channel}.{repo}"


def acknowledgement(channel: str, repo: str) -> str:
    """Where the orchestrator tells a channel's gateway that a message was taken."""
    return f"{PREFIX}.taken.{channel}.{repo}"


def task_event(repo: str, task: str) -> str:
    """State changes and agent output of one task."""
    return f"{PREFIX}.event.task.{repo}.{task}"


def egress_event(repo: str, sandbox: str) -> str:
    """Requests, DNS questions and denials of one sandbox."""
    return f"{PREFIX}.event.egress.{repo}.{sandbox}"


def service_event(service: str) -> str:
    """Readiness, refused input and trouble of a service itself."""
    return f"{PREFIX}.event.service.{service}"


def egress_service(host: str, endpoint: str) -> str:
    """Request/reply with the egress-proxy of one host: `open`, `close`."""
    return f"{PREFIX}.svc.egress.{host}.{endpoint}"


ANY_HOST = "_any"
"""Stands for the host where it does not matter which one answers; no host can be called this."""


def orchestrator_service(host: str, endpoint: str) -> str:
    """Request/reply with the orchestrator of one host: `stop` (of `ANY_HOST`, too), `gc`."""
    return f"{PREFIX}.svc.orchestrator.{host}.{endpoint}"


def dead_letter(stream: str) -> str:
    """Where a message goes that was refused for good, with its reason."""
    return f"{PREFIX}.dead.{stream}"
