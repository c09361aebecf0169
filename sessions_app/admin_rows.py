"""Django admin for what machines write: to look at, never to edit, and never with its content where that is secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.db.models import Model, QuerySet
from django.db.models.functions import Length
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from sessions_app import people, words
from sessions_app.admin_filters import EventStatusFilter, KindFilter
from sessions_app.models import (
    Alert,
    ApiToken,
    AuthBlob,
    Backup,
    ForeignState,
    Host,
    Message,
    OutboxEvent,
    PairingLink,
    PairingRound,
    SessionCommand,
    SessionEvent,
    Webhook,
    WebhookDelivery,
    WhatsAppSession,
)

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Model]
else:
    AnyModelAdmin = admin.ModelAdmin


def _linked(session: WhatsAppSession) -> SafeString:
    return format_html(
        '<a href="{}">{}</a>', reverse("admin:sessions_app_whatsappsession_change", args=[session.pk]), session.name
    )


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


@admin.register(Alert)
class AlertAdmin(MachineAdmin):
    list_display = ("began_at", "kind", "subject", "sentence", "ended_at")
    fields = ("kind", "subject", "sentence", "began_at", "ended_at", "told")
    list_filter = ("kind",)
    search_fields = ("subject", "sentence")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        """Whoever sees only certain sessions gets the alerts of those, and none of the installation as a whole."""
        rows = super().get_queryset(request)
        if people.owners_of(request.user) is None:
            return rows
        return rows.filter(subject__in=people.visible_to(request.user).values("session_id"))


@admin.register(LogEntry)
class LogEntryAdmin(MachineAdmin):
    """What was done in admin, by whom; what was done to sessions, from wherever, is among the session events."""

    list_display = ("action_time", "user", "content_type", "object_repr", "said")
    fields = list_display
    list_filter = ("content_type",)
    list_select_related = ("user", "content_type")
    search_fields = ("user__username", "object_repr")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        rows = super().get_queryset(request)
        return rows if people.owners_of(request.user) is None else rows.filter(user__pk=request.user.pk)

    @admin.display(description=_("what"))
    def said(self, entry: LogEntry) -> str:
        return entry.get_change_message() or entry.get_action_flag_display()


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
    """The history of who did what, to which session, and why."""

    list_display = ("at", "of_session", "what", "cause", "who", "host")
    fields = ("of_session", "at", "what", "status", "cause", "who", "host", "epoch", "detail")
    list_filter = (("kind", KindFilter), ("status", EventStatusFilter))
    search_fields = ("actor",)

    @admin.display(description=_("what"), ordering="kind")
    def what(self, event: SessionEvent) -> str:
        return str(words.event_title(event))

    @admin.display(description=_("who"), ordering="actor")
    def who(self, event: SessionEvent) -> str:
        return words.actor(event.actor)

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


@admin.register(PairingLink)
class PairingLinkAdmin(OfSessionAdmin):
    list_display = ("created_at", "of_session", "created_by", "expires_at", "used_at", "revoked_at")
    fields = ("of_session", "created_by", "created_at", "expires_at", "used_at", "revoked_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).defer("digest")


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
