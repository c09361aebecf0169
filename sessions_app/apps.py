"""The Django app."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SessionsAppConfig(AppConfig):
    name = "sessions_app"
    verbose_name = "Oxy"

    def ready(self) -> None:
        # After the permissions, which Django's own receiver makes: it was connected before.
        post_migrate.connect(_make_people, sender=self)


def _make_people(**signal: Any) -> None:
    from sessions_app import people

    people.make_groups(**signal)
    people.make_first_administrator(**signal)
