"""The log: one JSON object a line on standard output. Never a token, a key or the text of a message."""

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import msgspec

LOGGER = "wordup"
_logger = logging.getLogger(LOGGER)
# What every line says while a request is served: its id and, where the platform gives one, the id of its trace.
SERVED: ContextVar[Mapping[str, str]] = ContextVar("SERVED", default=MappingProxyType({}))


class JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname,
            "severity": record.levelname,  # Google's name for it, with the same words
            "event": record.getMessage(),
            **SERVED.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(level: str) -> None:
    """Sends our own loggers to standard output; other packages' keep their handlers."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JSONFormatter())
    _logger.handlers[:] = [handler]
    _logger.propagate = False
    _logger.setLevel(level)


def write(
    level: int,
    event: str,
    *,
    exception: BaseException | None = None,
    fields: Mapping[str, Any] = MappingProxyType({}),
    **more: Any,
) -> None:
    """`fields` are those whose names are no Python names."""
    if _logger.isEnabledFor(level):
        cause = (type(exception), exception, exception.__traceback__) if exception else None
        # Not by `log`, which would look through the stack for its caller, whom no line names.
        record = _logger.makeRecord(LOGGER, level, "", 0, event, (), cause, extra={"fields": {**fields, **more}})
        _logger.handle(record)
