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


class _ValuesFilter(admin.AllValuesFieldListFilter):
    """The values that there are, by their words; rows without one are not offered by themselves."""

    def say(self, value: str) -> Any:
        raise NotImplementedError

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        for choice in super().choices(changelist):
            if choice["display"] != "":
                yield {**choice, "display": self.say(str(choice["display"]))}


class EventStatusFilter(_ValuesFilter):
    """Statuses by their labels, of rows that may have none."""

    def say(self, value: str) -> Any:
        return words.status_words(value).label


class KindFilter(_ValuesFilter):
    """What entries of the timeline are about."""

    def say(self, value: str) -> Any:
        return words.kind_label(value)
