"""`runhost` as on a machine of its own, named by OXY_BENCHMARK_MACHINE: no other host can see that this one's process is gone.

So its leases have to run out, as those of a container that vanished with its machine.
"""

from __future__ import annotations

import os
import sys

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "oxy.settings"
    django.setup()
    from sessions_app.hosting import neighbours

    name = os.environ["OXY_BENCHMARK_MACHINE"]
    neighbours.machine = lambda: name
    from django.core.management import call_command

    call_command("runhost")


if __name__ == "__main__":
    sys.exit(main())
