"""Messages with pleasant defaults; name only what a test is about."""

from typing import Any

from airut_common.config.models import RepoConfig
from airut_common.contracts.v1 import (
    Acknowledgement,
    EmailEvidence,
    EmailRoute,
    Reply,
    TaskRequest,
    new_id,
    utc_now,
)


def email_route(**overrides: Any) -> EmailRoute:
    """A route back to Ada."""
    values: dict[str, Any] = {
        "recipient": "ada@lovelace.example",
        "from_address": "demo@airut.example",
        "subject": "Please fix the greeting",
        "in_reply_to": "<first@lovelace.example>",
    }
    return EmailRoute(**(values | overrides))


def task_request(**overrides: Any) -> TaskRequest:
    """A verified mail of Ada's that begins a conversation."""
    values: dict[str, Any] = {
        "id": new_id(),
        "repo": "demo",
        "channel": "email",
        "sender": "ada@lovelace.example",
        "evidence": EmailEvidence(
            method="dmarc", domain="lovelace.example", detail="dkim", rule="ada@lovelace.example"
        ),
        "subject": "Please fix the greeting",
        "text": "The greeting says Helo.",
        "route": email_route(),
        "received_at": utc_now(),
    }
    return TaskRequest(**(values | overrides))


def acknowledgement(**overrides: Any) -> Acknowledgement:
    """Ada's message was taken and begins at once."""
    values: dict[str, Any] = {
        "id": new_id(),
        "repo": "demo",
        "channel": "email",
        "conversation": new_id(),
        "place": 1,
        "route": email_route(),
        "created_at": utc_now(),
    }
    return Acknowledgement(**(values | overrides))


def reply(**overrides: Any) -> Reply:
    """A finished task's answer."""
    values: dict[str, Any] = {
        "id": new_id(),
        "repo": "demo",
        "channel": "email",
        "conversation": new_id(),
        "outcome": "done",
        "text": "Done: it says Hello now.",
        "route": email_route(),
        "created_at": utc_now(),
    }
    return Reply(**(values | overrides))


def repo_config(**overrides: Any) -> RepoConfig:
    """A repository that Ada may write to."""
    values: dict[str, Any] = {
        "address": "demo@airut.example",
        "senders": ("ada@lovelace.example",),
        "git": {"url": "https://git.example/demo.git"},
    }
    return RepoConfig.model_validate(values | overrides)
