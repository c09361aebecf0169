"""Hosts that died on this machine: a process that is gone needs no lease time to be known as dead.

A machine is named by its boot and its process namespace, so that two containers with the same process ids are not taken for one.
Where /proc is missing, nothing is known, and leases simply run out.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sessions_app.hosting import lease
from sessions_app.models import Host

log = logging.getLogger(__name__)


def machine() -> str:
    """This machine since its start, and this process namespace; empty where that cannot be told."""
    try:
        return f"{boot()}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def boot() -> str:
    """The system's own name for its present run; empty where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def started(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 where there is none (a zombie counts as none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def bury_the_dead(own: Host) -> int:
    """End the leases of hosts on this machine whose process is gone; returns how many leases that were."""
    if not own.machine:
        return 0
    ended = 0
    for host in Host.objects.filter(machine=own.machine).exclude(pk=own.pk):
        if started(host.pid) != host.pid_started:
            count = lease.end_leases_of(host)
            log.warning("dead_host_found", extra={"host": own.name, "dead": host.name, "leases": count})
            host.delete()
            ended += count
    return ended
