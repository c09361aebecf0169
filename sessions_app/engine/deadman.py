"""A dead man's switch that the kernel keeps: it ends this process at a time, even if the process is frozen by then.

A thread that watches the clock is frozen with its process (SIGSTOP, a paused container), and the sockets stay open while another host
takes the sessions. A POSIX timer that delivers SIGKILL is the kernel's own: it runs on, and SIGKILL ends a stopped process too. It
counts the time that a machine sleeps as well. Where the system has no such timers the switch does nothing, and says so.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import time

logger = logging.getLogger(__name__)

SIGEV_SIGNAL = 0
_NEVER = 0.0


class _SigEvent(ctypes.Structure):
    """`struct sigevent`, 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class DeadMansSwitch:
    """`arm(seconds)` puts the end of this process off until then; `disarm()` calls it off."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._timer = ctypes.c_void_p()
        event = _SigEvent(signo=signal.SIGKILL, notify=SIGEV_SIGNAL)
        try:
            made = self._library.timer_create(time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._timer)) == 0
        except AttributeError:
            made = False
        self.works = made
        if not made:
            logger.warning("no_kernel_switch")

    def arm(self, seconds: float) -> None:
        """End the process `seconds` from now, unless armed again before."""
        self._set(max(0.001, seconds))

    def disarm(self) -> None:
        self._set(_NEVER)

    def _set(self, seconds: float) -> None:
        if self.works:
            value = _TimeSpec(int(seconds), int(seconds % 1 * 1e9))
            self._library.timer_settime(self._timer, 0, ctypes.byref(_TimerSpec(_TimeSpec(0, 0), value)), None)
