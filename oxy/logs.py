"""Logging: one line a record, with the action and whatever the record carries (session, host, ...)."""

from __future__ import annotations

import logging
from typing import Any

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class ActionFormatter(logging.Formatter):
    """Appends a record's `extra` fields as `name=value`, in the order they were given."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        fields = [f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD]
        return f"{line} [{' '.join(fields)}]" if fields else line


def logging_config(*, debug: bool) -> dict[str, Any]:
    """A `dictConfig`: everything to standard error, ours from DEBUG or INFO, the rest from WARNING."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"action": {"()": ActionFormatter, "format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "action"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "sessions_app": {"level": "DEBUG" if debug else "INFO"},
            "django.request": {"level": "ERROR"},
            # It tells of every task it takes and finishes.
            "django-q": {"level": "INFO" if debug else "WARNING", "handlers": ["stderr"], "propagate": False},
        },
    }
