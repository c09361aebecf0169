"""Hosts, and the news that the channel layer carries between processes."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from sessions_app.querysets import HostQuerySet


class Host(models.Model):
    """A django-q task that owns sessions. It is alive while `beat_at` is recent, by the database's clock."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    #: Which machine, since its start, and which process there: a neighbour sees at once that it is dead (hosting/neighbours.py).
    machine = models.CharField(_("machine"), max_length=100, blank=True)
    pid = models.PositiveIntegerField(_("process id"))
    pid_started = models.PositiveBigIntegerField(_("process started"), default=0)
    version = models.CharField(_("version"), max_length=40, blank=True)
    library = models.CharField(_("library"), max_length=80, blank=True)
    capacity = models.PositiveIntegerField(_("capacity"), default=0)
    session_path = models.CharField(_("session path"), max_length=500, blank=True)
    #: The session path of the settings could not be written, and another is used.
    path_fell_back = models.BooleanField(_("session path replaced"), default=False)
    #: The id of the encryption key that it seals with; `vault/rotation.py` waits for hosts with an older one to go.
    key_id = models.CharField(_("encryption key"), max_length=16, blank=True)
    #: As of the last beat: engine processes, their memory in bytes, what is free on the session path's disk, and the longest that
    #: a changed key waited for the vault.
    engines = models.PositiveIntegerField(_("engines"), default=0)
    engine_bytes = models.PositiveBigIntegerField(_("memory of engines"), default=0)
    free_bytes = models.PositiveBigIntegerField(_("free on the disk"), null=True)
    lag_ms = models.PositiveBigIntegerField(_("longest write-through"), default=0)
    stopping = models.BooleanField(_("stopping"), default=False)
    started_at = models.DateTimeField(_("started"), db_default=Now())
    beat_at = models.DateTimeField(_("last beat"), db_default=Now())

    objects = HostQuerySet.as_manager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return self.name


class DatabaseIdentity(models.Model):
    """Which database this is: one row, which a dump takes along, and which then names another (hosting/restored.py)."""

    identity = models.CharField(max_length=100)

    class Meta:
        verbose_name = _("identity of the database")
        verbose_name_plural = _("identities of the database")

    def __str__(self) -> str:
        return self.identity


class LayerMessage(models.Model):
    """News on its way between processes (`channel_layer`): all of it on SQLite, on PostgreSQL what NOTIFY cannot carry.

    Gone after a minute.
    """

    body = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("news between processes")
        verbose_name_plural = _("news between processes")

    def __str__(self) -> str:
        return f"news {self.pk}"
