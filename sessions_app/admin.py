"""Django admin for sessions: look at one, and ask for what the lifecycle allows.

A session is never deleted as a row: its DELETE command unlinks the phone first, and the host deletes the row then. The other rows are in
`admin_rows.py`, people in `admin_people.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from sessions_app import (
    admin_people,  # noqa: F401
    admin_rows,  # noqa: F401
    broadcast,
    panels,
    people,
    words,
)
from sessions_app.admin_filters import StatusFilter
from sessions_app.lifecycle import Command
from sessions_app.models import (
    Backup,
    Message,
    NotAllowed,
    PairingLink,
    PairingRound,
    SessionCommand,
    SessionEvent,
    WhatsAppSession,
)
from sessions_app.templatetags import oxy

if TYPE_CHECKING:
    from sessions_app.querysets import SessionQuerySet

    SessionModelAdmin = admin.ModelAdmin[WhatsAppSession]
else:
    SessionModelAdmin = admin.ModelAdmin

admin.site.site_header = admin.site.site_title = _("Oxy administration")

#: The commands that admin offers, in the order of its buttons. Pairing happens on the console's page.
VERBS = (Command.START, Command.STOP, Command.RESTART, Command.BACKUP, Command.LOGOUT, Command.DELETE)


@admin.action(description=_("Start"), permissions=["change"])
def start(self: SessionAdmin, request: HttpRequest, queryset: QuerySet[WhatsAppSession]) -> None:
    self.give_to_many(request, queryset, Command.START)


@admin.action(description=_("Stop"), permissions=["change"])
def stop(self: SessionAdmin, request: HttpRequest, queryset: QuerySet[WhatsAppSession]) -> None:
    self.give_to_many(request, queryset, Command.STOP)


@admin.action(description=_("Restart"), permissions=["change"])
def restart(self: SessionAdmin, request: HttpRequest, queryset: QuerySet[WhatsAppSession]) -> None:
    self.give_to_many(request, queryset, Command.RESTART)


@admin.action(description=_("Back up now"), permissions=["change"])
def back_up(self: SessionAdmin, request: HttpRequest, queryset: QuerySet[WhatsAppSession]) -> None:
    self.give_to_many(request, queryset, Command.BACKUP)


@admin.action(description=_("Log out…"), permissions=["change"])
def log_out(self: SessionAdmin, request: HttpRequest, queryset: QuerySet[WhatsAppSession]) -> HttpResponse | None:
    return self.confirm_many(request, queryset, Command.LOGOUT)


@admin.action(description=_("Delete, and unlink the phones…"), permissions=["erase"])
def erase(self: SessionAdmin, request: HttpRequest, queryset: QuerySet[WhatsAppSession]) -> HttpResponse | None:
    return self.confirm_many(request, queryset, Command.DELETE)


@admin.register(WhatsAppSession)
class SessionAdmin(SessionModelAdmin):
    list_display = ("badge", "name", "number", "owner", "lease_host", "last_connected_at", "last_backup_at")
    list_display_links = ("name",)
    list_filter = (("status", StatusFilter), "desired", "lease_host")
    list_select_related = ("lease_host",)
    search_fields = ("name", "owner", "session_id", "phone", "push_name")
    actions = (start, stop, restart, back_up, log_out, erase)
    fieldsets = (
        (None, {"fields": ["session_id", "name", "owner"]}),
        (_("State"), {"fields": ["badge", "why", "desired", "number", "push_name", "jid", "lid"]}),
        (_("Worker"), {"fields": ["lease_host", "lease_until", "lease_epoch"]}),
        (_("Vault"), {"fields": ["vault", "vault_epoch", "last_backup_at"]}),
        (_("Times"), {"fields": ["created_at", "paired_at", "last_connected_at", "status_at", "updated_at"]}),
        (_("More"), {"fields": ["related"]}),
    )
    add_fieldsets = ((None, {"fields": ["session_id", "name", "owner"]}),)
    change_form_template = "admin/sessions_app/whatsappsession/change_form.html"

    # --- what is shown ---------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[WhatsAppSession]:
        rows, owners = super().get_queryset(request).defer("creds", "proxy_url"), people.owners_of(request.user)
        return rows if owners is None else rows.filter(owner__in=owners)

    def get_fieldsets(self, request: HttpRequest, obj: WhatsAppSession | None = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: WhatsAppSession | None = None) -> list[str]:
        shown = [str(name) for __, options in self.fieldsets for name in options["fields"]]
        # The id names the session's directory and is bound into its sealed keys: it can be chosen once.
        return [name for name in shown if name not in ("name", "owner")] if obj else []

    @admin.display(description=_("status"), ordering="status")
    def badge(self, session: WhatsAppSession) -> SafeString:
        return oxy.badge(session.status)

    @admin.display(description=_("number"), ordering="phone")
    def number(self, session: WhatsAppSession) -> str:
        return oxy.number(session.phone)

    @admin.display(description=_("why"))
    def why(self, session: WhatsAppSession) -> str:
        said = words.sentence(session.reason) or str(words.status_words(session.status).sentence)
        return f"{said} {words.next_step(session.reason)}".strip()

    @admin.display(description=_("keys"))
    def vault(self, session: WhatsAppSession) -> SafeString:
        keys = session.blobs.count()
        url = reverse("admin:sessions_app_authblob_changelist")
        text = ngettext("%(n)d key", "%(n)d keys", keys) % {"n": keys}
        return format_html('<a href="{}?session__id__exact={}">{}</a>', url, session.pk, text)

    @admin.display(description=_("rows of this session"))
    def related(self, session: WhatsAppSession) -> SafeString:
        parts = [
            format_html(
                '<a href="{}?session__id__exact={}">{}</a>',
                reverse(f"admin:sessions_app_{model.__name__.lower()}_changelist"),
                session.pk,
                model._meta.verbose_name_plural,
            )
            for model in (SessionEvent, SessionCommand, PairingRound, PairingLink, Backup, Message)
        ]
        return format_html_join(" · ", "{}", ((part,) for part in parts))

    # --- what can be asked -------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # Django's own deletion would leave the phone linked

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return people.may(request.user, Command.DELETE)

    def save_model(self, request: HttpRequest, obj: WhatsAppSession, form: Any, change: bool) -> None:
        by = request.user.get_username()
        if not change:
            obj.save()
            obj.record("created", actor=by)
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)
            obj.record("changed", actor=by, fields=", ".join(sorted(form.changed_data)))
        broadcast.session_changed(obj.pk)

    def get_urls(self) -> list[URLPattern]:
        ask = path(
            "<int:pk>/ask/<slug:verb>/", self.admin_site.admin_view(self.ask), name="sessions_app_whatsappsession_ask"
        )
        return [ask, *super().get_urls()]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The timeline: it knows what was done from wherever, and not only here."""
        address = reverse("admin:sessions_app_sessionevent_changelist")
        return HttpResponseRedirect(f"{address}?{urlencode({'session__id__exact': unquote(object_id)})}")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        session = self.get_object(request, object_id)
        buttons = [
            {"verb": verb.value, "confirmed": verb in panels.CONFIRMED}
            for verb in VERBS
            if session and session.allows(verb) and people.may(request.user, verb)
        ]
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "buttons": buttons})

    def ask(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """A button of a session's page: POST gives the command; GET shows what it will destroy, and changes nothing."""
        session = self.get_object(request, str(pk))
        if session is None or verb not in VERBS or not people.may(request.user, Command(verb)):
            raise Http404
        if request.method == "POST":
            self._give(request, session, Command(verb))
            return HttpResponseRedirect(reverse("admin:sessions_app_whatsappsession_change", args=[pk]))
        return self._confirm_page(request, Command(verb), [session])

    def _give(self, request: HttpRequest, session: WhatsAppSession, command: Command) -> bool:
        try:
            session.request(command, by=request.user.get_username())
        except NotAllowed as error:
            messages.error(request, f"{session.name}: {words.refusal(error)}")
            return False
        broadcast.session_changed(session.pk)
        label = words.COMMANDS[command]
        self.log_change(request, session, str(label))
        messages.success(
            request, gettext("%(name)s: “%(verb)s” was asked for.") % {"name": session.name, "verb": label}
        )
        return True

    def give_to_many(self, request: HttpRequest, queryset: QuerySet[WhatsAppSession], command: Command) -> None:
        """Ask it of all of them at once, and say in one sentence what came of it."""
        able = [session for session in queryset if session.allows(command)]
        asked, refused = cast("SessionQuerySet", queryset).request_all(command, by=request.user.get_username())
        broadcast.sessions_changed()
        LogEntry.objects.log_actions(cast("int", request.user.pk), able, CHANGE, str(words.COMMANDS[command]))
        said = words.asked_of_many(command, asked, refused)
        messages.add_message(request, messages.SUCCESS if asked else messages.ERROR, said)

    def confirm_many(
        self, request: HttpRequest, queryset: QuerySet[WhatsAppSession], command: Command
    ) -> HttpResponse | None:
        """The first POST of an action shows what will be lost; the second one, from that page, does it."""
        if request.POST.get("confirmed"):
            self.give_to_many(request, queryset, command)
            return None
        return self._confirm_page(request, command, list(queryset))

    def _confirm_page(
        self, request: HttpRequest, command: Command, sessions: list[WhatsAppSession]
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": words.COMMANDS[command],
            "verb": command.value,
            "action": {Command.LOGOUT: "log_out", Command.DELETE: "erase"}.get(command, ""),
            "many": request.method == "POST",
            "sessions": sessions,
        }
        return TemplateResponse(request, "admin/sessions_app/whatsappsession/confirm.html", context)
