"""The log: one JSON object a line on standard output. Never a token, a key or the text of a message."""

import logging
import sys
from typing import Any

import msgspec

LOGGER = "wordup"


class JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname,
            "severity": record.levelname,  # Google's name for it, with the same words
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(level: str) -> None:
    """Sends our own loggers to standard output; other packages' keep their handlers."""
    logger = logging.getLogger(LOGGER)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JSONFormatter())
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)


def write(level: int, event: str, *, exception: BaseException | None = None, **fields: Any) -> None:
    logging.getLogger(LOGGER).log(level, event, exc_info=exception, extra={"fields": fields})
