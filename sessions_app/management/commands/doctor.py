"""`manage.py doctor`: how this installation is, and what to do."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error
from django.template.defaultfilters import filesizeformat

from sessions_app import doctor
from sessions_app.doctor import Level, database, installation

MARKS = {Level.OK: "ok      ", Level.WARNING: "warning ", Level.FAILURE: "FAILURE "}


class Command(BaseCommand):
    help = (
        "Looks at the database, the workers, the keys, the way to WhatsApp and the rest, and says what to do. The exit status is "
        "1 where something has failed, with --strict also where there is a warning, else 0."
    )
    # They would end it before it could say anything.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document, for programs")
        parser.add_argument("--strict", action="store_true", help="a warning counts as a failure")
        parser.add_argument("--sizes", action="store_true", help="the table of what takes how much space, too")
        parser.add_argument(
            "--skip",
            action="append",
            default=[],
            choices=list(doctor.TITLES),
            metavar="CHECK",
            help="leave a check out",
        )
        parser.add_argument("--say-to", default="", help=argparse.SUPPRESS)  # what its own child is started with

    def handle(self, *args: Any, **options: Any) -> None:
        if options["say_to"]:
            installation.say(options["say_to"])
            return
        findings = doctor.examine(skip=options["skip"])
        sizes = self.sizes() if options["sizes"] else []
        self.write_json(findings, sizes) if options["json"] else self.write_lines(findings, sizes)
        worst = doctor.worst(findings)
        if worst is Level.FAILURE or (worst is Level.WARNING and options["strict"]):
            sys.exit(1)

    def sizes(self) -> list[database.TableSize]:
        try:
            return [size for size in database.sizes() if size.rows]
        except Error:
            return []  # the findings say that the database is not there

    def write_json(self, findings: list[doctor.Finding], sizes: list[database.TableSize]) -> None:
        document = {
            "level": doctor.worst(findings).value,
            "findings": [finding.to_dict() for finding in findings],
            **({"sizes": [vars(size) for size in sizes]} if sizes else {}),
        }
        self.stdout.write(json.dumps(document, ensure_ascii=False, indent=1))

    def write_lines(self, findings: list[doctor.Finding], sizes: list[database.TableSize]) -> None:
        for finding in findings:
            self.stdout.write(f"{MARKS[finding.level]} {finding.title}: {finding.saw}")
            if finding.todo:
                self.stdout.write(f"          → {finding.todo}")
        for size in sizes:
            taken = filesizeformat(size.bytes) if size.bytes is not None else ""
            self.stdout.write(f"{taken:>12} {size.rows:>10}  {size.label}")
