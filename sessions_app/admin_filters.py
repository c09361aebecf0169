"""Filters of the admin that speak as the console does, where the rows hold codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin

from sessions_app import words

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList


class StatusFilter(admin.ChoicesFieldListFilter):
    """Statuses by their labels."""

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": words.status_words(str(choice["display"])).label}
