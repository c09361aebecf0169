"""Django admin: inspect everything but secrets, and ask for what the lifecycle allows.

Rows that machines write can be read and not edited. A session is never deleted as a row: its DELETE command unlinks the phone
first, and the host deletes the row then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.db.models.functions import Length
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from sessions_app import broadcast, panels, people, words
from sessions_app.admin_filters import StatusFilter
from sessions_app.lifecycle import Command
from sessions_app.models import (
    ApiToken,
    AuthBlob,
    Backup,
    ForeignState,
    Host,
    Message,
    NotAllowed,
    OutboxEvent,
    PairingRound,
    SessionCommand,
    SessionEvent,
    Webhook,
    WebhookDelivery,
    WhatsAppSession,
)
from sessions_app.templatetags import oxy

if TYPE_CHECKING:
    SessionModelAdmin = admin.ModelAdmin[WhatsAppSession]
    AnyModelAdmin = admin.ModelAdmin[Model]
else:
    SessionModelAdmin = AnyModelAdmin = admin.ModelAdmin

admin.site.site_header = admin.site.site_title = _("Oxy administration")

#: The commands that admin offers, in the order of its buttons. Pairing happens on the console's page.
VERBS = (Command.START, Command.STOP, Command.RESTART, Command.BACKUP, Command.LOGOUT, Command.DELETE)


def _linked(session: WhatsAppSession) -> SafeString:
    return format_html(
        '<a href="{}">{}</a>', reverse("admin:sessions_app_whatsappsession_change", args=[session.pk]), session.name
    )


def _permission(command: Command) -> str:
    """The model permission that a person needs to give a command."""
    return "sessions_app.delete_whatsappsession" if command is Command.DELETE else "sessions_app.change_whatsappsession"


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
            for model in (SessionEvent, SessionCommand, PairingRound, Backup, Message)
        ]
        return format_html("{} · {} · {} · {} · {}", *parts)

    # --- what can be asked -------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # Django's own deletion would leave the phone linked

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(_permission(Command.DELETE))

    def save_model(self, request: HttpRequest, obj: WhatsAppSession, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_data)
        else:
            obj.save()
        broadcast.session_changed(obj.pk)

    def get_urls(self) -> list[URLPattern]:
        ask = path(
            "<int:pk>/ask/<slug:verb>/", self.admin_site.admin_view(self.ask), name="sessions_app_whatsappsession_ask"
        )
        return [ask, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        session = self.get_object(request, object_id)
        buttons = [
            {"verb": verb.value, "confirmed": verb in panels.CONFIRMED}
            for verb in VERBS
            if session and session.allows(verb) and request.user.has_perm(_permission(verb))
        ]
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "buttons": buttons})

    def ask(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """A button of a session's page: POST gives the command; GET shows what it will destroy, and changes nothing."""
        session = self.get_object(request, str(pk))
        if session is None or verb not in VERBS or not request.user.has_perm(_permission(Command(verb))):
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
        for session in queryset.select_related("lease_host"):
            self._give(request, session, command)

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


class MachineAdmin(AnyModelAdmin):
    """Rows that hosts write: everybody with the view permission may read them, nobody may edit them."""

    show_full_result_count = False
    list_per_page = 50
    #: Where a row says whose it is; "" for rows that are nobody's own.
    owner_field = ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        rows, owners = super().get_queryset(request), people.owners_of(request.user)
        return rows.filter(**{f"{self.owner_field}__in": owners}) if self.owner_field and owners is not None else rows

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OfSessionAdmin(MachineAdmin):
    """Machine rows that belong to a session, of those that the person may see."""

    list_select_related = ("session",)
    owner_field = "session__owner"

    def get_list_filter(self, request: HttpRequest) -> Any:
        return [*super().get_list_filter(request), ("session", admin.RelatedOnlyFieldListFilter)]

    def get_search_fields(self, request: HttpRequest) -> Any:
        return ["session__name", "session__session_id", *super().get_search_fields(request)]

    @admin.display(description=_("session"), ordering="session__name")
    def of_session(self, row: Any) -> SafeString:
        return _linked(row.session)


@admin.register(Host)
class HostAdmin(MachineAdmin):
    list_display = ("name", "version", "library", "capacity", "started_at", "beat_at", "stopping")
    list_filter = ("stopping", "path_fell_back")


@admin.register(AuthBlob)
class AuthBlobAdmin(OfSessionAdmin):
    """Keys by name, size and time: their content is never read here."""

    list_display = ("data_key", "of_session", "size", "updated_at")
    fields = ("of_session", "data_key", "size", "updated_at")
    search_fields = ("data_key",)

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        return rows.defer("data_value").annotate(size_in_bytes=Length("data_value"))

    @admin.display(description=_("size, sealed"), ordering="size_in_bytes")
    def size(self, blob: Any) -> str:
        return filesizeformat(blob.size_in_bytes)


@admin.register(SessionEvent)
class SessionEventAdmin(OfSessionAdmin):
    list_display = ("at", "of_session", "kind", "status", "cause", "actor", "host")
    fields = ("of_session", "at", "kind", "status", "cause", "actor", "host", "epoch", "detail")
    list_filter = ("kind", "status")

    @admin.display(description=_("cause"), ordering="reason")
    def cause(self, event: SessionEvent) -> str:
        return words.sentence(event.reason)


@admin.register(SessionCommand)
class SessionCommandAdmin(OfSessionAdmin):
    list_display = ("created_at", "of_session", "verb", "requested_by", "taken_at", "done_at", "outcome")
    fields = ("of_session", "verb", "requested_by", "created_at", "taken_at", "done_at", "outcome", "error")
    list_filter = ("verb", "outcome")


@admin.register(PairingRound)
class PairingRoundAdmin(OfSessionAdmin):
    list_display = ("started_at", "of_session", "index", "of", "ended_at", "outcome")
    fields = ("of_session", "epoch", "started_at", "index", "of", "issued_at", "ended_at", "outcome")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).defer("sealed_code", "sealed_pairing_code")


@admin.register(Backup)
class BackupAdmin(OfSessionAdmin):
    list_display = ("at", "of_session", "keys", "bytes", "duration_ms", "differed")


@admin.register(Message)
class MessageAdmin(OfSessionAdmin):
    list_display = ("created_at", "of_session", "direction", "chat", "kind", "status")
    list_filter = ("direction", "status")
    search_fields = ("chat", "message_id")


@admin.register(Webhook)
class WebhookAdmin(MachineAdmin):
    """To look at: webhooks are made and changed on the console's page, which shows a new secret once."""

    list_display = ("url", "session_code", "active", "failing_since", "created_by", "created_at")
    fields = (
        "code",
        "url",
        "session_code",
        "events",
        "active",
        "failing_since",
        "created_by",
        "created_at",
        "updated_at",
    )
    list_filter = ("active",)
    search_fields = ("url", "session_code")
    owner_field = "session__owner"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).defer("sealed_secret")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(MachineAdmin):
    list_display = ("created_at", "webhook", "event", "status", "attempts", "response_status", "duration_ms")
    fields = (
        "code", "webhook", "event", "status", "attempts", "attempted_at", "next_attempt_at",
        "response_status", "excerpt", "duration_ms", "created_at",
    )  # fmt: skip
    list_filter = ("status",)
    list_select_related = ("webhook", "event")
    search_fields = ("webhook__url", "event__session_code")
    owner_field = "webhook__session__owner"


@admin.register(OutboxEvent)
class OutboxEventAdmin(MachineAdmin):
    list_display = ("at", "position", "session_code", "name")
    fields = ("position", "session_code", "name", "at", "data")
    list_filter = ("name",)
    search_fields = ("session_code",)
    owner_field = "session__owner"


@admin.register(ForeignState)
class ForeignStateAdmin(MachineAdmin):
    """What Baileys services keep here, by name, size and time; it is deleted through the API."""

    list_display = ("session_id", "owner", "file_count", "sealed_size", "created_at", "updated_at")
    fields = list_display
    search_fields = ("session_id", "owner")
    owner_field = "owner"

    @admin.display(description=_("size, sealed"), ordering="size")
    def sealed_size(self, state: ForeignState) -> str:
        return filesizeformat(state.size)


@admin.action(description=_("Revoke"), permissions=["revoke"])
def revoke(self: ApiTokenAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> None:
    for token in queryset.filter(revoked_at=None):
        token.revoke()
        self.log_change(request, token, gettext("Revoked"))
        messages.success(request, gettext("%(name)s was revoked.") % {"name": token})


@admin.register(ApiToken)
class ApiTokenAdmin(MachineAdmin):
    """Tokens are made on the console's page, which shows the new one once; here they can be looked at and revoked."""

    list_display = (
        "name", "prefix", "granted", "owner", "created_by", "created_at", "expires_at", "last_used_at", "revoked_at",
    )  # fmt: skip
    fields = (
        "name", "prefix", "granted", "limited", "only", "owner", "created_by", "created_at", "expires_at",
        "last_used_at", "revoked_at",
    )  # fmt: skip
    search_fields = ("name", "prefix", "owner")
    owner_field = "owner"
    actions = (revoke,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).defer("digest")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("sessions_app.change_apitoken")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("oxy-tokens"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("sessions_app.add_apitoken")

    @admin.display(description=_("scopes"))
    def granted(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @admin.display(description=_("only these sessions"))
    def only(self, token: ApiToken) -> str:
        return ", ".join(token.sessions.values_list("session_id", flat=True))
