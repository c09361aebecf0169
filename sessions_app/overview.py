"""The overview's panels: the list of sessions as its URL asks for it, counters, charts, and how a mass return goes.

Each costs a constant number of queries, however many sessions there are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Q
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import escape
from django.utils.safestring import mark_safe
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from sessions_app import charts, panels, people
from sessions_app.lifecycle import Command, Status
from sessions_app.models import Message, Sample, WhatsAppSession
from sessions_app.panels import Panel
from sessions_app.querysets import SessionQuerySet

PAGE_SIZE = 50
PANELS = ("warnings", "progress", "counts", "list", "charts")
#: What can be asked of many sessions at once, here.
BULK = (Command.START, Command.STOP, Command.BACKUP)
#: So many sessions on their way back are worth a progress bar; fewer are everyday life.
MANY = 5

#: The columns: their name in the URL, their label, and what they sort by ("" where they don't).
COLUMNS = (
    ("status", _("Status"), "status"),
    ("name", _("Name"), "name"),
    ("number", _("Number"), "phone"),
    ("owner", _("Owner"), "owner"),
    ("worker", _("Worker"), "lease_host__name"),
    ("connected", _("Last connected"), "last_connected_at"),
    ("backup", _("Last backup"), "last_backup_at"),
    ("", _("Messages today"), ""),
)
_SORTS = {name: field for name, __, field in COLUMNS if field}
#: A search that may be a phone number, as people write one.
_NUMBER = re.compile(r"[\d\s()+./-]*\d[\d\s()+./-]*", re.ASCII)


@dataclass(frozen=True)
class ListQuery:
    """What a list of sessions was asked for; it lives in the URL. `sort` is a column's name, with a dash in front where it goes down."""

    search: str = ""
    status: str = ""
    owner: str = ""
    worker: str = ""
    sort: str = ""
    page: str = "1"

    @classmethod
    def read(cls, parameters: QueryDict) -> ListQuery:
        status, sort = parameters.get("status", ""), parameters.get("sort", "")
        return cls(
            search=parameters.get("q", "").strip()[:100],
            status=status if status in Status.__members__ else "",
            owner=parameters.get("owner", "")[:100],
            worker=parameters.get("worker", "")[:100],
            sort=sort if sort.removeprefix("-") in _SORTS else "",
            page=parameters.get("page", "1")[:10],
        )

    def url(self, **over: str) -> str:
        """The query string of this list with something changed, from its first page, without what is empty."""
        changed = replace(self, **({"page": ""} | over))
        wanted = {"q": changed.search} | {
            name: getattr(changed, name) for name in ("status", "owner", "worker", "sort")
        }
        parameters = QueryDict(mutable=True)
        parameters.update({name: value for name, value in (wanted | {"page": changed.page}).items() if value})
        return f"?{parameters.urlencode()}"

    @property
    def here(self) -> str:
        """The query string of this very list."""
        return self.url(page=self.page)

    def rows(self, visible: SessionQuerySet) -> SessionQuerySet:
        """The sessions that match, in no order."""
        rows = visible.order_by()
        if self.status:
            rows = rows.filter(status=self.status)
        if self.owner:
            rows = rows.filter(owner=self.owner)
        if self.worker:
            rows = rows.filter(lease_host__name=self.worker)
        return rows.filter(self._found()) if self.search else rows

    def _found(self) -> Q:
        found = Q(name__icontains=self.search) | Q(owner__icontains=self.search) | Q(session_id__icontains=self.search)
        return found | Q(phone__contains=re.sub(r"\D", "", self.search)) if _NUMBER.fullmatch(self.search) else found

    def find(self, visible: SessionQuerySet) -> Page[WhatsAppSession]:
        """The page that was asked for, or the nearest one that there is."""
        return Paginator(panels.public(self.rows(visible)).order_by(*self._order()), PAGE_SIZE).get_page(self.page)

    def _order(self) -> list[Any]:
        by_name: list[Any] = ["name", "session_id"]
        if not self.sort or self.sort == "name":
            return by_name
        field = F(_SORTS[self.sort.removeprefix("-")])
        # Whoever has no value stands at the end, whichever way the others go.
        first = field.desc(nulls_last=True) if self.sort.startswith("-") else field.asc(nulls_last=True)
        return [first, *(["-session_id"] if self.sort == "-name" else by_name)]


def list_panels(query: ListQuery, user: Any) -> list[Panel]:
    """The panels of the overview as this person may see it."""
    owners = people.owners_of(user)
    visible = WhatsAppSession.objects.all() if owners is None else WhatsAppSession.objects.filter(owner__in=owners)
    counts = dict(visible.order_by().values_list("status").annotate(Count("pk")))
    context = {
        "query": query,
        "total": sum(counts.values()),
        "all_url": query.url(status=""),
        "counts": _counters(query, counts),
        "warnings": panels.warnings(),
        "progress": _progress(counts),
        "may_control": people.may(user, Command.START),
        "verbs": [command.value for command in BULK],
        # The samples are of all sessions, so they are for those alone who may see all.
        "charts": _charts() if owners is None and counts else None,
        **_page_context(query, visible),
    }
    return [Panel(name, render_to_string(f"oxy/panels/{name}.html", context).strip()) for name in PANELS]


def _counters(query: ListQuery, counts: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {"status": status.value, "count": counts[status], "url": query.url(status=status.value)}
        for status in Status
        if counts.get(status)
    ]


def _progress(counts: dict[str, int]) -> dict[str, int] | None:
    """How many are back of those that are connected or on their way, while many are on their way."""
    back = counts.get(Status.CONNECTED, 0)
    coming = counts.get(Status.CONNECTING, 0) + counts.get(Status.WAITING, 0)
    return {"back": back, "of": back + coming} if coming >= MANY else None


def _page_context(query: ListQuery, visible: SessionQuerySet) -> dict[str, Any]:
    page = query.find(visible)
    today = _messages_today([session.pk for session in page])
    return {
        "page": page,
        "rows": [(session, today.get(session.pk, 0)) for session in page],
        "headings": _headings(query),
        "filters": _filters(query),
        "previous_url": query.url(page=str(page.previous_page_number())) if page.has_previous() else "",
        "next_url": query.url(page=str(page.next_page_number())) if page.has_next() else "",
    }


def _messages_today(pks: list[int]) -> dict[int, int]:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    rows = Message.objects.filter(session__in=pks, created_at__gte=midnight).order_by()
    return dict(rows.values_list("session").annotate(Count("pk")))


def _headings(query: ListQuery) -> list[dict[str, Any]]:
    shown = query.sort or "name"
    return [
        {
            "label": label,
            "name": name,
            "sorted": "" if shown.removeprefix("-") != name else "descending" if shown[0] == "-" else "ascending",
            "url": query.url(sort=f"-{name}" if shown == name else name) if field else "",
        }
        for name, label, field in COLUMNS
    ]


def _filters(query: ListQuery) -> list[dict[str, str]]:
    """The filters that no other part of the page shows, each with the address of the list without it."""
    named = (("owner", gettext("Owner")), ("worker", gettext("Worker")))
    return [
        {"label": label, "value": getattr(query, name), "url": query.url(**{name: ""})}
        for name, label in named
        if getattr(query, name)
    ]


# --- charts --------------------------------------------------------------------


def _charts() -> dict[str, Any]:
    """The last day in two drawings; drawn once for each sample, by whoever shows it first."""
    last = Sample.objects.values_list("at", flat=True).first()
    if last is None:
        return {"empty": True}
    key = f"oxy-charts-{last.timestamp()}-{get_language()}"
    drawn = cache.get(key)
    if drawn is None:
        drawn = _draw(last)
        cache.set(key, drawn, 300)
    return dict(drawn)


def _draw(until: datetime) -> dict[str, Any]:
    rows: list[tuple[Any, ...]] = list(
        Sample.objects.filter(at__gt=until - charts.DAY)
        .order_by("pk")
        .values_list("at", "connected", "wanted", "received", "sent")
    )
    connected, wanted, received, sent = (
        charts.by_step(((row[0], row[column]) for row in rows), until, choose)
        for column, choose in ((1, min), (2, max), (3, max), (4, max))
    )
    lines = [charts.Line(wanted, "soft"), charts.Line(connected, "ok", filled=True)]
    rate = [charts.Line(received, "ok", filled=True), charts.Line(sent, "busy")]
    return {
        "now": {"connected": rows[-1][1], "wanted": rows[-1][2], "received": rows[-1][3], "sent": rows[-1][4]},
        "lowest": min(row[1] for row in rows),
        "busiest": max(row[3] + row[4] for row in rows),
        "connected": mark_safe(charts.draw(lines, escape(gettext("Connected sessions, last day")))),  # noqa: S308
        "rate": mark_safe(charts.draw(rate, escape(gettext("Messages a minute, last day")))),  # noqa: S308
    }
