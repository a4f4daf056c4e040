"""What a worker could not do, as the exceptions of an engine."""

from typing import Never

from airut_common.config.yamlfile import ConfigError
from airut_egress.credentials import BadCredential
from airut_egress.engine import UnknownToken
from airut_egress.entries import UnusableCredential

from .messages import Failure


class WorkerFailed(Exception):
    """A bug in a worker; it has logged more."""


def raise_failure(failure: Failure) -> Never:
    """Raise what the engine raised."""
    match failure.kind:
        case "policy":
            raise ConfigError(failure.problems)
        case "unusable":
            raise UnusableCredential(failure.text)
        case "credential":
            raise BadCredential(failure.text)
        case "token":
            raise UnknownToken(failure.text)
        case "os":
            raise OSError(failure.text)
        case "value":
            raise ValueError(failure.text)
        case "internal":
            raise WorkerFailed(failure.text)
