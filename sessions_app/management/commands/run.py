"""`manage.py run`: the console and the worker on this machine, as one program."""

from __future__ import annotations

import io
import os
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import Error, connection
from django.utils.translation import gettext as _

from sessions_app import launch
from sessions_app.models import Host


class Command(BaseCommand):
    help = "Prepares the database, makes the first administrator, and runs the console and the worker until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="where the console listens (%(default)s)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="its port (PORT, or %(default)s)")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        os.chdir(settings.BASE_DIR)
        try:
            launch.check_port(host, port)
        except launch.PortInUse as error:
            sys.exit(f"oxy: {error}")
        welcome = self.prepare()
        with launch.Launcher(self.say) as launcher:
            try:
                environment, addresses = self.surroundings(launcher, **options)
                self.start(launcher, host, port, environment)
                self.say("\n".join(["", _("Oxy is up: http://%s:%d/") % (host, port), *addresses, welcome, ""]))
                launcher.wait()
            except launch.Ended:
                pass
            status = launcher.end()
        sys.exit(status)

    def prepare(self) -> str:
        """Migrate, and make the first administrator; what to tell about that."""
        said = io.StringIO()
        try:
            call_command("migrate", interactive=False, verbosity=0)
            call_command("ensure_admin", stdout=said)
        except Error as error:
            sys.exit(f"oxy: The database cannot be used ({type(error).__name__}). Is DATABASE_URL right?")
        return said.getvalue()

    def surroundings(self, launcher: launch.Launcher, **options: Any) -> tuple[Mapping[str, str], list[str]]:
        """What is started first: the environment that it gives to the rest, and lines about where it is."""
        return {}, []

    def start(self, launcher: launch.Launcher, host: str, port: int, environment: Mapping[str, str]) -> None:
        """Start web and worker, and wait until both are up."""
        newest = Host.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        connection.close()
        daphne = ["-m", "daphne", "-v", "0", "-b", host, "-p", str(port), "oxy.asgi:application"]
        launcher.start(launch.Program("web", [sys.executable, *daphne], environment))
        launcher.start(launch.Program("worker", [sys.executable, "manage.py", "runhost"], environment))
        launcher.wait(lambda: launch.answers(host, port) and Host.objects.alive(pk__gt=newest).exists())
        connection.close()

    def say(self, text: str) -> None:
        self.stdout.write(text, ending="")
        self.stdout.flush()
