"""API tokens: who a program is, what it may do, and how often."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from sessions_app.models.sessions import WhatsAppSession
    from sessions_app.querysets import SessionQuerySet

#: Every token begins so: a leaked one is recognised by whoever finds it, and by scanners of repositories.
MARK = "oxy_"
#: Requests are counted for so long, then the count begins again.
WINDOW = 60


class Scope(models.TextChoices):
    """What a token may do. None of them holds another."""

    READ = "read", _("read: sessions, messages, events")
    SEND = "send", _("send: messages")
    CONTROL = "control", _("control: create, start, stop and delete sessions")
    VAULT = "vault", _("vault: the stored state of Baileys services")
    ADMIN = "admin", _("admin: webhooks")


#: What a token may do where its maker did not say.
DEFAULT_SCOPES = (Scope.READ, Scope.SEND, Scope.CONTROL)


class ApiToken(models.Model):
    """A program's right to use the API. The token itself is shown once and never stored.

    Its SHA-256 is stored. That is enough here, and a slow password hash would be wrong: a token is 256 random bits, so nobody finds
    it by guessing from the hash, and it has to be checked at each request.
    """

    name = models.CharField(_("name"), max_length=100)
    #: The first characters of the token, to recognise it by.
    prefix = models.CharField(_("begins with"), max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(_("scopes"), default=list)
    #: Only these sessions. A flag of its own, since a list that became empty must not open all sessions.
    limited = models.BooleanField(_("only certain sessions"), default=False, editable=False)
    sessions = models.ManyToManyField(
        "sessions_app.WhatsAppSession", blank=True, related_name="api_tokens", verbose_name=_("only these sessions")
    )
    owner = models.CharField(_("only sessions of this owner"), max_length=100, blank=True)
    created_by = models.CharField(_("made by"), max_length=150, editable=False)
    created_at = models.DateTimeField(_("made"), db_default=Now(), editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)
    #: Right to a minute: it is written when a new window of the rate limit begins.
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    window = models.PositiveBigIntegerField(default=0, editable=False)
    window_count = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    # --- making, finding, revoking --------------------------------------------

    @classmethod
    def issue(
        cls,
        name: str,
        *,
        by: str,
        scopes: Iterable[str] = DEFAULT_SCOPES,
        sessions: Iterable[WhatsAppSession] | None = None,
        owner: str = "",
        expires_at: datetime | None = None,
    ) -> tuple[ApiToken, str]:
        """A new token, and its text: the only time that anybody sees it. `sessions` None is all of them."""
        text = MARK + secrets.token_urlsafe(32)
        token = cls.objects.create(
            name=name,
            prefix=text[:10],
            digest=_digest(text),
            scopes=[scope.value for scope in Scope if scope.value in set(scopes)],
            limited=sessions is not None,
            owner=owner,
            created_by=by,
            expires_at=expires_at,
        )
        if sessions is not None:
            token.sessions.set(sessions)
        return token, text

    @classmethod
    def find(cls, text: str) -> ApiToken | None:
        """The token with this text, if it is in force."""
        digest = _digest(text)
        token = cls.objects.filter(digest=digest).first() if text.startswith(MARK) else None
        return token if token and hmac.compare_digest(token.digest, digest) and token.in_force else None

    def revoke(self) -> None:
        """End it for good; the row stays, so that the timeline's names can be understood."""
        ApiToken.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=Now())
        self.refresh_from_db(fields=["revoked_at"])

    # --- what it may do ---------------------------------------------------------

    @property
    def in_force(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    @property
    def actor(self) -> str:
        """How the timeline names what it does."""
        return f"API: {self.name}"

    def has(self, scope: str) -> bool:
        return scope in self.scopes

    def visible(self) -> SessionQuerySet:
        """The sessions that it may see."""
        from sessions_app.models.sessions import WhatsAppSession

        rows = WhatsAppSession.objects.all()
        if self.limited:
            rows = rows.filter(api_tokens=self)
        return rows.filter(owner=self.owner) if self.owner else rows

    # --- how often ----------------------------------------------------------------

    def count_use(self, limit: int) -> int:
        """Count a request; 0, or the seconds to wait where `limit` requests of this minute are used up (0: no limit).

        The count is in the row, so it is right across processes, and each step is one conditional UPDATE. A process whose clock is
        behind counts into the window that another has begun.
        """
        now = timezone.now().timestamp()
        mine = ApiToken.objects.filter(pk=self.pk)
        window = int(now // WINDOW)
        for __ in range(2):
            open_window = mine.filter(window__gte=window)
            if (open_window.filter(window_count__lt=limit) if limit else open_window).update(
                window_count=F("window_count") + 1
            ):
                return 0
            if mine.filter(window__lt=window).update(window=window, window_count=1, last_used_at=Now()):
                return 0
            # Another request began this minute's window between the two: once more.
        return max(1, int((window + 1) * WINDOW - now) + 1)


class IdempotentRequest(models.Model):
    """The first answer to a request with an `Idempotency-Key`: a repeat gets the same, and does nothing.

    It is written in the transaction of what the request did, so there is both or neither; the constraint decides races.
    """

    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, related_name="idempotent_requests")
    key = models.CharField(max_length=200)
    #: SHA-256 of the address and the body.
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    answer = models.JSONField()
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("remembered answer")
        verbose_name_plural = _("remembered answers")
        constraints: ClassVar = [models.UniqueConstraint(fields=["token", "key"], name="oxy_idempotent_once")]

    def __str__(self) -> str:
        return self.key

    @classmethod
    def forget_old(cls, age: timedelta = timedelta(days=30)) -> int:
        """Delete those that nobody repeats any more; returns how many."""
        return cls.objects.filter(created_at__lt=Now() - age).delete()[0]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
