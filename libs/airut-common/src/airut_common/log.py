"""Structured logging with redaction: JSON for machines, one readable line for people, never a secret's value."""

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog

from airut_common.secrets import Secret
from airut_common.settings import LogFormat

REPLACEMENT = "[redacted]"
SHORTEST = 6
"""Shorter values are not searched for: they would redact half of every line."""

# Control and direction characters could forge lines or steer a terminal (row 37 of the field notes).
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Redactor:
    """Replaces known secret values in text. The cost of a line does not grow with the number of secrets:
    candidates are found by their first characters in a table, not by one search for each value (row 68)."""

    def __init__(self) -> None:
        self._by_prefix: dict[str, list[str]] = {}

    def remember(self, secrets: Iterable[Secret]) -> None:
        """Redact these from now on."""
        for secret in secrets:
            value = secret.reveal()
            if len(value) >= SHORTEST:
                known = self._by_prefix.setdefault(value[:SHORTEST], [])
                if value not in known:
                    known.append(value)
                    known.sort(key=len, reverse=True)

    def forget(self, secrets: Iterable[Secret]) -> None:
        """Stop redacting these; their values leave memory here."""
        for secret in secrets:
            value = secret.reveal()
            known = self._by_prefix.get(value[:SHORTEST], [])
            if value in known:
                known.remove(value)
            if not known:
                self._by_prefix.pop(value[:SHORTEST], None)

    def clean(self, text: str) -> str:
        """The text without any remembered value."""
        table = self._by_prefix
        if not table or len(text) < SHORTEST:
            return text
        pieces: list[str] = []
        done = position = 0
        last = len(text) - SHORTEST
        while position <= last:
            for value in table.get(text[position : position + SHORTEST], ()):
                if text.startswith(value, position):
                    pieces += (text[done:position], REPLACEMENT)
                    position = done = position + len(value)
                    break
            else:
                position += 1
        pieces.append(text[done:])
        return "".join(pieces)


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
        case str():
            return _redactor.clean(value)
        case bool() | int() | float() | None:
            return value
        case dict():
            return {str(key): _clean_value(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean_value(item) for item in value]
        case _:
            return _redactor.clean(str(value))


def _one_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {
        key: _CONTROL.sub("\N{REPLACEMENT CHARACTER}", v) if isinstance(v, str) else v
        for key, v in event.items()
    }


class _StandardToStructured(logging.Handler):
    """What libraries log through the standard library takes the same way out."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def configure_logging(service: str, *, log_format: LogFormat, level: str) -> None:
    """Set up this process's log on standard error."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False)
    )
    name = [lambda _l, _m, event: {"service": service} | event] if log_format == "json" else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *name,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if log_format == "json" else "%H:%M:%S", utc=True),
            structlog.processors.StackInfoRenderer(),
            # Before the redaction: exception texts and tracebacks may quote a value.
            structlog.processors.format_exc_info,
            _redact_event,
            _one_line,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_StandardToStructured()]
    root.setLevel(max(number, logging.WARNING))
