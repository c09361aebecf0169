#!/usr/bin/env python
"""Django's command line for Oxy."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oxy.settings")
    from django.core.management import execute_from_command_line
    from django.utils import translation

    # Whatever OXY_LANGUAGE says: logs and scripts are read in English.
    translation.deactivate_all()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
