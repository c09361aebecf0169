"""Signing in, for the console and for admin: whoever fails again and again has to wait, ever longer.

Failures are counted in the database, so that every web process knows them. What is counted is a digest: a name that somebody typed may be
a password in the wrong field, and must not be kept.
"""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import ngettext

from sessions_app.models import SignInFailures

log = logging.getLogger(__name__)

#: The first wait; each failure after it doubles it.
FIRST_WAIT = timedelta(seconds=30)
#: After so long without a failure, all is forgotten.
FORGOTTEN = timedelta(hours=1)


@dataclass(frozen=True)
class Limit:
    """So many failures are free; no wait is longer than that."""

    free: int
    longest: timedelta

    def wait(self, failures: int) -> timedelta:
        """How long to wait after so many failures."""
        if failures < self.free:
            return timedelta(0)
        return min(self.longest, FIRST_WAIT * (1 << min(failures - self.free, 16)))


LIMITS = {
    # Somebody who guesses one person's password.
    "person": Limit(5, timedelta(minutes=15)),
    # Somebody who tries one password on many names; a whole office may share an address.
    "address": Limit(30, timedelta(minutes=15)),
    # Somebody who guesses from many addresses. A short wait: strangers must not lock the person out.
    "name": Limit(100, timedelta(minutes=1)),
}


class SignInForm(AdminAuthenticationForm):
    """The form of both faces: staff only, and not again at once after many failures."""

    def clean(self) -> dict[str, Any]:
        keys = _keys(self.cleaned_data.get("username", ""), client_address(self.request)) if self.request else {}
        _refuse_while_waiting(keys)
        try:
            cleaned = super().clean()
        except ValidationError:
            _count(keys)
            _refuse_while_waiting(keys)
            raise
        if self.get_user():
            # The address stays counted: an account of one's own must not buy guesses at others.
            SignInFailures.objects.filter(key__in=[keys.get("person"), keys.get("name")]).delete()
        return cleaned


def client_address(request: HttpRequest) -> str:
    """Where a request comes from. Each proxy that we trust adds the address that it sees to the end of X-Forwarded-For.

    What stands before those was written by the client, and says nothing.
    """
    proxies = settings.OXY_TRUSTED_PROXIES
    told = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    address = told[-proxies] if 0 < proxies <= len(told) else request.META.get("REMOTE_ADDR", "")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    # Whoever has an IPv6 address has all that begin with the same 64 bits.
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def _keys(name: str, address: str) -> dict[str, str]:
    """What is counted, each by its digest. The digest is keyed: a copy of the database tells no names."""
    texts = {"person": f"{name}\0{address}", "address": address, "name": name}
    return {
        what: salted_hmac(f"oxy.sign-in.{what}", text, algorithm="sha256").hexdigest() for what, text in texts.items()
    }


def _refuse_while_waiting(keys: dict[str, str]) -> None:
    now = timezone.now()
    waits = SignInFailures.objects.filter(key__in=keys.values(), wait_until__gt=now)
    until = waits.aggregate(until=Max("wait_until"))["until"]
    if until:
        log.warning("a sign-in was refused after too many failures", extra={"action": "sign_in_refused"})
        raise ValidationError(_sentence(ceil((until - now).total_seconds())), code="wait")


def _sentence(seconds: int) -> str:
    if seconds <= 90:
        said = ngettext(
            "Too many sign-ins have failed. Try again in %(n)d second.",
            "Too many sign-ins have failed. Try again in %(n)d seconds.",
            seconds,
        )
        return said % {"n": seconds}
    minutes = ceil(seconds / 60)
    said = ngettext(
        "Too many sign-ins have failed. Try again in %(n)d minute.",
        "Too many sign-ins have failed. Try again in %(n)d minutes.",
        minutes,
    )
    return said % {"n": minutes}


def _count(keys: dict[str, str]) -> None:
    now = timezone.now()
    SignInFailures.objects.filter(last_at__lt=now - FORGOTTEN).delete()
    for what, key in keys.items():
        _count_one(key, LIMITS[what], now)


def _count_one(key: str, limit: Limit, now: datetime) -> None:
    with transaction.atomic():
        row, __ = SignInFailures.objects.select_for_update().get_or_create(key=key, defaults={"last_at": now})
        row.count += 1
        row.last_at = now
        wait = limit.wait(row.count)
        row.wait_until = now + wait if wait else None
        row.save(update_fields=["count", "last_at", "wait_until"])
