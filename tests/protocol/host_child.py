"""`runhost` as on a machine of its own (OXY_TEST_MACHINE), with leases that run out within seconds."""

from __future__ import annotations

import os
from datetime import timedelta

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "oxy.settings"
    django.setup()
    from sessions_app.hosting import lease, neighbours, supervisor

    lease.LEASE_TTL, lease.BEAT_EVERY, lease.ENGINE_MARGIN = (timedelta(seconds=s) for s in (12, 1, 5))
    supervisor.LEFTOVERS_EVERY = 1.0
    name = os.environ["OXY_TEST_MACHINE"]
    neighbours.machine = lambda: name
    from django.core.management import call_command

    call_command("runhost")


if __name__ == "__main__":
    main()
