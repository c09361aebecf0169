"""What an outside Baileys service keeps here: its own files, apart from every session that Oxy runs."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class ForeignState(models.Model):
    """The auth state of one outside client. It never becomes a native vault by itself: two clients would run one device.

    `owner` is the owner that its tokens are limited to, "" for tokens without one: a new token of the same owner finds
    what an old one has stored, and no owner meets another's.
    """

    owner = models.CharField(_("owner"), max_length=100, blank=True)
    session_id = models.CharField(_("session id"), max_length=128)
    file_count = models.PositiveIntegerField(_("files"), default=0)
    #: In bytes, as the files lie in the database.
    size = models.PositiveBigIntegerField(_("size"), default=0)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        verbose_name = _("stored Baileys state")
        verbose_name_plural = _("stored Baileys states")
        ordering: ClassVar = ["session_id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["owner", "session_id"], name="oxy_foreign_state")]

    def __str__(self) -> str:
        return self.session_id


class ForeignFile(models.Model):
    """One file of it; `sealed` is bound to the state and the name (vault/foreign.py)."""

    state = models.ForeignKey(ForeignState, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=255)
    sealed = models.BinaryField()
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("file of a Baileys state")
        verbose_name_plural = _("files of Baileys states")
        constraints: ClassVar = [models.UniqueConstraint(fields=["state", "name"], name="oxy_foreign_file")]

    def __str__(self) -> str:
        return self.name
