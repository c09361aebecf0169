"""`manage.py serve`: web and worker as one program, for a platform that runs one process a service."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

from sessions_app import launch
from sessions_app.management.commands import runhost

#: The advisory lock that a replica holds while it migrates; any number that nothing else uses.
MIGRATING = 0x0C1_0001


class Command(BaseCommand):
    help = "Runs web and worker until SIGTERM, and ends when one of them ends, for the platform to start both again."
    # They would open the database before it can be waited for.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="0.0.0.0", help="where the console listens (%(default)s)")  # noqa: S104
        parser.add_argument("--port", type=int, default=settings.PORT, help="its port (PORT, or %(default)s)")
        parser.add_argument("--migrate", action="store_true", help="migrate the database first")

    def handle(self, *args: Any, host: str, port: int, migrate: bool, **options: Any) -> None:
        os.chdir(settings.BASE_DIR)
        daphne = ["-m", "daphne", "-b", host, "-p", str(port), "oxy.asgi:application"]
        with launch.Launcher(self.say, shows_lines=False) as launcher:
            if migrate:
                self.migrate()
            try:
                launcher.start(launch.Program("web", [sys.executable, *daphne]))
                launcher.start(launch.Program("worker", [sys.executable, "manage.py", "runhost"]))
                launcher.wait()
            except launch.Ended:
                pass
            status = launcher.end()
        sys.exit(status)

    def migrate(self) -> None:
        """One after the other, where several replicas start at once."""
        runhost.Command().wait_for_database()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATING])
        call_command("migrate", interactive=False, stdout=self.stdout)
        connection.close()  # and with it the lock

    def say(self, text: str) -> None:
        self.stderr.write(text, ending="")
