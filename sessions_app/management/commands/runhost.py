"""`manage.py runhost`: the worker. It hosts sessions and runs the background tasks until it is told to stop."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from sessions_app.models import Host
from sessions_app.vault import crypto_check

#: Seconds: how long the database may take to come up, and the pause between two tries.
DATABASE_PATIENCE, TRY_EVERY = 30.0, 1.0


class Command(BaseCommand):
    help = "Host WhatsApp sessions and run the background tasks, until SIGTERM or SIGINT."
    # They would open the database before it can be waited for.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--beating", action="store_true", help="only tell, by the exit status, whether a host of this machine beats"
        )

    def handle(self, *args: Any, beating: bool, **options: Any) -> None:
        if beating:
            sys.exit(self.why_not_beating())
        self.wait_for_database()
        self.check_migrations()
        crypto_check.verify_or_exit()
        # Not before: django-q reads its settings, and the host's modules the tables, when they are imported.
        from sessions_app import tasks
        from sessions_app.hosting.cluster import HostingCluster

        tasks.make_schedules()
        sys.exit(HostingCluster().run())

    def why_not_beating(self) -> str | None:
        """For a container's health check; None where all is well, else a sentence."""
        from sessions_app.hosting import neighbours

        try:
            beats = Host.objects.alive(machine=neighbours.machine()).exists()
        except Error as error:
            return f"oxy: The database cannot be reached ({type(error).__name__})."
        return None if beats else "oxy: No worker on this machine is beating."

    def wait_for_database(self) -> None:
        deadline = time.monotonic() + DATABASE_PATIENCE
        while True:
            try:
                connection.ensure_connection()
                return
            except Error as error:
                if time.monotonic() >= deadline:
                    self.refuse(
                        _(
                            "The database could not be reached for %(seconds)d seconds (%(error)s). Is DATABASE_URL right?"
                        )
                        % {"seconds": DATABASE_PATIENCE, "error": type(error).__name__}
                    )
                time.sleep(TRY_EVERY)

    def check_migrations(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.refuse(_("The database is not migrated. Run: python manage.py migrate"))

    def refuse(self, sentence: str) -> None:
        sys.exit(f"oxy: {sentence}")
