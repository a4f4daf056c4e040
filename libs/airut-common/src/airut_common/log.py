"""Structured logging with redaction: JSON for machines, one readable line for people, never a secret's value."""

import logging
import re
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import Processor

from airut_common.redaction import Redactor
from airut_common.secrets import Secret
from airut_common.settings import LogFormat

# Control and direction characters could forge lines or steer a terminal (row 37 of the field notes).
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069]")
_MANY_LINES = {"exception", "stack"}
"""The only fields that go over several lines, indented, in text for people."""

_redactor = Redactor()


def redact(*secrets: Secret) -> None:
    """Keep these values out of this process's log."""
    _redactor.remember(secrets)


def forget(*secrets: Secret) -> None:
    """The task is over: these values need no more care here."""
    _redactor.forget(secrets)


def clean(text: str) -> str:
    """Text without remembered secrets, for what leaves the process by other ways than the log."""
    return _redactor.clean(text)


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _clean_value(value) for key, value in event.items()}


def _clean_value(value: object) -> object:
    match value:
        case bool() | int() | float() | None:
            return value
        case dict():
            return {_clean_text(str(key)): _clean_value(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean_value(item) for item in value]
        case _:
            return _clean_text(str(value))


def _clean_text(text: str) -> str:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _redactor.clean(text))


def _for_people(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line break in what others said must not begin a line that looks like ours; other fields are quoted anyway."""
    lines = {
        key: "\n".join("  " + line for line in str(event[key]).splitlines())
        for key in _MANY_LINES & event.keys()
    }
    return {**event, **lines, "event": str(event.get("event", "")).replace("\n", "\\n")}


class _StandardToStructured(logging.Handler):
    """What libraries log through the standard library takes the same way out."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def configure_logging(service: str, *, log_format: LogFormat, level: str) -> None:
    """Set up this process's log on standard error."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if log_format == "json" else "%H:%M:%S", utc=True),
            structlog.processors.StackInfoRenderer(),
            # Before the redaction: exception texts and tracebacks may quote a value.
            structlog.processors.format_exc_info,
            _redact_event,
            *(_json(service) if log_format == "json" else _text()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_StandardToStructured()]
    root.setLevel(max(number, logging.WARNING))
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )
    sys.unraisablehook = _log_unraisable


def _json(service: str) -> list[Processor]:
    def name(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"service": service, **event}

    return [name, structlog.processors.JSONRenderer(ensure_ascii=False)]


def _text() -> list[Processor]:
    return [_for_people, structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False)]


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's own way would print the traceback as it is, secrets included."""
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().error("uncaught", exc_info=(kind, error, trace))


def _log_unraisable(args: Any) -> None:
    error = args.exc_value
    structlog.get_logger().error(
        "unraisable", where=repr(args.object), exc_info=(args.exc_type, error, args.exc_traceback)
    )
