"""`manage.py demo`: the same as `run`, on a simulated WhatsApp with simulated phones."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from sessions_app import launch
from sessions_app.management.commands import run

#: Who is there from the start, to scan the first code and to write the first message.
PHONES = ("5511987650001=Ana", "5511987650002=Bia")


class Command(run.Command):
    help = "Runs the console and the worker with a simulated WhatsApp and simulated phones, until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        state = str(settings.VAR_DIR / "simulator")
        parser.add_argument("--state", default=state, help="where the simulated phones are kept (%(default)s)")

    def surroundings(self, launcher: launch.Launcher, **options: Any) -> tuple[Mapping[str, str], list[str]]:
        command = [sys.executable, "-m", "simulator", "--state", options["state"]]
        command += [f"--phone={phone}" for phone in PHONES]
        ready = json.loads(launcher.start(launch.Program("simulator", command), first_line=True))
        return ready["environment"], [_("The simulated phones: %s/") % ready["control"]]
