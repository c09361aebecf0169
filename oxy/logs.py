"""Logging: one line a record, as text or as JSON, with the action and whatever the record carries (session, host, ...)."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class ActionFormatter(logging.Formatter):
    """Appends a record's `extra` fields as `name=value`, in the order they were given."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        fields = [f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD]
        return f"{line} [{' '.join(fields)}]" if fields else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at`, `level`, `logger`, `action` (or `message`, where it is a sentence), and the `extra` fields."""

    def format(self, record: logging.LogRecord) -> str:
        said = record.getMessage()
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            # Ours are named in snake case; a sentence may still carry its action as a field.
            "action" if said.isidentifier() else "message": said,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD and name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def logging_config(*, debug: bool, form: str = "text") -> dict[str, Any]:
    """A `dictConfig`: everything to standard error, ours from DEBUG or INFO, the rest from WARNING; `form` is `text` or `json`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": ActionFormatter, "format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
            "json": {"()": JsonFormatter},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "sessions_app": {"level": "DEBUG" if debug else "INFO"},
            "django.request": {"level": "ERROR"},
            # It tells of every task it takes and finishes.
            "django-q": {"level": "INFO" if debug else "WARNING", "handlers": ["stderr"], "propagate": False},
        },
    }
