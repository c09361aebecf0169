"""Log lines: what a record carries, as text for people and as JSON for programs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

from oxy.logs import ActionFormatter, JsonFormatter, logging_config
from tests.processes import ROOT


def record(message: str, *arguments: object, **fields: object) -> logging.LogRecord:
    made = logging.getLogger("sessions_app.tests").makeRecord(
        "sessions_app.tests", logging.INFO, "file", 1, message, arguments, None, extra=fields
    )
    made.created = 1_790_000_000.25
    return made


def test_a_line_of_json_has_the_action_and_every_field() -> None:
    line = json.loads(JsonFormatter().format(record("lease_acquired", session="shop", host="worker-1", epoch=3)))

    assert line == {
        "at": "2026-09-21T14:13:20.250+00:00",
        "level": "info",
        "logger": "sessions_app.tests",
        "action": "lease_acquired",
        "session": "shop",
        "host": "worker-1",
        "epoch": 3,
    }


def test_a_sentence_is_a_message_and_stays_on_one_line() -> None:
    text = JsonFormatter().format(record("Session path is writable: %s", "/a\nb", path=ROOT, level="mine"))

    assert "\n" not in text
    line = json.loads(text)
    assert (line["message"], line["path"], line["level"]) == ("Session path is writable: /a\nb", str(ROOT), "info")


def test_an_exception_is_part_of_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        made = record("host_failed")
        made.exc_info = sys.exc_info()

    assert "ValueError: broken" in json.loads(JsonFormatter().format(made))["exception"]


def test_a_line_of_text_ends_with_the_fields() -> None:
    assert ActionFormatter("%(message)s").format(record("pruned", messages=3)) == "pruned [messages=3]"


def test_both_forms_are_valid_configurations() -> None:
    for form in ("text", "json"):
        config = logging_config(debug=False, form=form)
        assert config["handlers"]["stderr"]["formatter"] in config["formatters"]


def test_a_form_that_does_not_exist_ends_the_process_with_a_sentence() -> None:
    environment = {**os.environ, "OXY_LOG_FORMAT": "xml", "DJANGO_SETTINGS_MODULE": "oxy.settings"}
    command = [sys.executable, "-c", "import oxy.settings"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "oxy: OXY_LOG_FORMAT must be text or json.\n")
