"""Who may come in and see what, beyond Django's accounts: limits to owners, links for people with no account, and sign-ins that failed."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from sessions_app.models.sessions import WhatsAppSession

#: How long a pairing link can be used.
LINK_LASTS = timedelta(hours=1)


class OwnerLimit(models.Model):
    """A person who sees only the sessions of certain owners. The row is the limit: with no owner in it they see none."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="owner_limit", verbose_name=_("person")
    )
    owners = models.TextField(_("owners, one on each line"), blank=True)

    class Meta:
        verbose_name = _("limit to owners")
        verbose_name_plural = _("limits to owners")

    def __str__(self) -> str:
        return ", ".join(self.names)

    @property
    def names(self) -> list[str]:
        return [line.strip() for line in self.owners.splitlines() if line.strip()]


class PairingLink(models.Model):
    """A customer's right to link one phone to one session, with no account. The link's token is shown once and never stored.

    It ends when a phone is linked, when its time is over, or when somebody takes it back.
    """

    session = models.ForeignKey(
        "sessions_app.WhatsAppSession",
        on_delete=models.CASCADE,
        related_name="pairing_links",
        verbose_name=_("session"),
    )
    #: SHA-256: the token is 256 random bits, so there is nothing to guess.
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.CharField(_("made by"), max_length=150)
    created_at = models.DateTimeField(_("made"), db_default=Now())
    expires_at = models.DateTimeField(_("expires"))
    used_at = models.DateTimeField(_("used"), null=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True)

    class Meta:
        verbose_name = _("pairing link")
        verbose_name_plural = _("pairing links")
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"link {self.pk}"

    @classmethod
    def issue(cls, session: WhatsAppSession, *, by: str, lasts: timedelta = LINK_LASTS) -> tuple[PairingLink, str]:
        """A new link and its token, the only time that anybody sees it; older links of the session end."""
        session.pairing_links.filter(revoked_at=None).update(revoked_at=Now())
        token = secrets.token_urlsafe(32)
        link = cls.objects.create(
            session=session, digest=_digest(token), created_by=by, expires_at=timezone.now() + lasts
        )
        return link, token

    @classmethod
    def find(cls, token: str) -> PairingLink | None:
        """The link with this token, in force or not."""
        return cls.objects.filter(digest=_digest(token)).first()

    @property
    def in_force(self) -> bool:
        return self.used_at is None and self.revoked_at is None and self.expires_at > timezone.now()

    @property
    def actor(self) -> str:
        """How the timeline names whoever uses it."""
        return f"pairing link of {self.created_by}"


class SignInFailures(models.Model):
    """How often signing in has failed lately for one person, one address, or one name (sign_in.py). Names neither of them."""

    #: A keyed digest of what is counted.
    key = models.CharField(max_length=64, unique=True)
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField(db_index=True)
    wait_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.count} failures"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
