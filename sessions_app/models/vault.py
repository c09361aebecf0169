"""The vault's rows: keys, the check of the encryption keys, and the backups that compare."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class AuthBlob(models.Model):
    """One key of a session's vault; `data_value` is sealed with the session and `data_key` as associated data."""

    session = models.ForeignKey(
        "sessions_app.WhatsAppSession", on_delete=models.CASCADE, related_name="blobs", verbose_name=_("session")
    )
    data_key = models.CharField(_("name"), max_length=255)
    data_value = models.BinaryField()
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        verbose_name = _("key in the vault")
        verbose_name_plural = _("keys in the vault")
        constraints: ClassVar = [models.UniqueConstraint(fields=["session", "data_key"], name="oxy_blob_key")]

    def __str__(self) -> str:
        return self.data_key


class VaultCheck(models.Model):
    """A known text sealed with each encryption key in use: a wrong key is found at start, not at the first read."""

    key_id = models.CharField(max_length=16, unique=True)
    sealed = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("check of an encryption key")
        verbose_name_plural = _("checks of encryption keys")

    def __str__(self) -> str:
        return self.key_id


class Backup(models.Model):
    """One full comparison of a live store with its vault. `differed` counts the keys that the write-through had missed."""

    session = models.ForeignKey(
        "sessions_app.WhatsAppSession", on_delete=models.CASCADE, related_name="backups", verbose_name=_("session")
    )
    at = models.DateTimeField(_("when"), db_default=Now())
    keys = models.PositiveIntegerField(_("keys"))
    bytes = models.PositiveBigIntegerField(_("size"))
    duration_ms = models.PositiveIntegerField(_("duration"))
    differed = models.PositiveIntegerField(_("keys that differed"), default=0)
    #: The first few names of keys that differed.
    detail = models.JSONField(_("details"), default=list)

    class Meta:
        verbose_name = _("backup")
        verbose_name_plural = _("backups")
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [models.Index(fields=["session", "-id"], name="oxy_backup_latest")]

    def __str__(self) -> str:
        return f"{self.keys} keys"
