"""What operators are told: one row for each trouble, from its beginning to its end."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class Alert(models.Model):
    """A trouble that operators are told of once when it begins and once when it is over (`alerts.py`)."""

    class Kind(models.TextChoices):
        NO_WORKER = "no-worker", _("no worker is running")
        DOWN = "down", _("a session is down")
        FLAPPING = "flapping", _("a session loses its connection again and again")
        PHONE_AWAY = "phone-away", _("a session's phone is away")
        BACKUP_OVERDUE = "backup-overdue", _("a session's backup is overdue")
        STORAGE = "storage", _("a disk is nearly full, or cannot be written")
        KEY_DUE = "key-due", _("the encryption key is to be changed soon")
        OLD_KEY = "old-key", _("values are still encrypted with an older key")

    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    #: The session's id or the host's name; "" where it is about the installation.
    subject = models.CharField(_("about"), max_length=100, blank=True)
    sentence = models.CharField(_("what is wrong"), max_length=500)
    began_at = models.DateTimeField(_("began"))
    ended_at = models.DateTimeField(_("over"), null=True)
    #: Since when it has looked well again; it is over when that has lasted.
    calm_since = models.DateTimeField(null=True)
    #: Who was told of what: `began/email`, `ended/webhook`, ...
    told = models.JSONField(default=list)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            # Two workers that look at the same moment raise it once.
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=models.Q(ended_at=None), name="oxy_alert_open_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}".strip()

    def to_dict(self) -> dict[str, Any]:
        """The alert as a webhook gets it."""
        names = ("kind", "subject", "sentence", "began_at", "ended_at")
        return {"id": self.pk, **{name: getattr(self, name) for name in names}}
