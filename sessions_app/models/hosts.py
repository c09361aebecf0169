"""Hosts, and the news that the channel layer carries between processes."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from sessions_app.querysets import HostQuerySet


class Host(models.Model):
    """A django-q task that owns sessions. It is alive while `beat_at` is recent, by the database's clock."""

    name = models.CharField(max_length=100, unique=True)
    #: Which machine, since its start, and which process there: a neighbour sees at once that it is dead (hosting/neighbours.py).
    machine = models.CharField(max_length=100, blank=True)
    pid = models.PositiveIntegerField()
    pid_started = models.PositiveBigIntegerField(default=0)
    version = models.CharField(max_length=40, blank=True)
    library = models.CharField(max_length=80, blank=True)
    capacity = models.PositiveIntegerField(default=0)
    session_path = models.CharField(max_length=500, blank=True)
    #: The session path of the settings could not be written, and another is used.
    path_fell_back = models.BooleanField(default=False)
    #: The id of the encryption key that it seals with; `vault/rotation.py` waits for hosts with an older one to go.
    key_id = models.CharField(max_length=16, blank=True)
    #: As of the last beat: engine processes, their memory in bytes, what is free on the session path's disk, and the longest that
    #: a changed key waited for the vault.
    engines = models.PositiveIntegerField(default=0)
    engine_bytes = models.PositiveBigIntegerField(default=0)
    free_bytes = models.PositiveBigIntegerField(null=True)
    lag_ms = models.PositiveBigIntegerField(default=0)
    stopping = models.BooleanField(default=False)
    started_at = models.DateTimeField(db_default=Now())
    beat_at = models.DateTimeField(db_default=Now())

    objects = HostQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class DatabaseIdentity(models.Model):
    """Which database this is: one row, which a dump takes along, and which then names another (hosting/restored.py)."""

    identity = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.identity


class LayerMessage(models.Model):
    """News on its way between processes (`channel_layer`): all of it on SQLite, on PostgreSQL what NOTIFY cannot carry.

    Gone after a minute.
    """

    body = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    def __str__(self) -> str:
        return f"news {self.pk}"
