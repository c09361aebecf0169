"""Forms of the console."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from sessions_app import outbound
from sessions_app.models import DEFAULT_SCOPES, EventName, Scope, Webhook, WhatsAppSession
from sessions_app.models.webhooks import ALL_EVENTS, SUBSCRIBABLE
from sessions_app.numbers import read_chat, read_phone
from sessions_app.querysets import SessionQuerySet

if TYPE_CHECKING:
    SessionModelForm = forms.ModelForm[WhatsAppSession]
else:
    SessionModelForm = forms.ModelForm


class NewSessionForm(SessionModelForm):
    """A session is made from a name; whose it is can be said too."""

    class Meta:
        model = WhatsAppSession
        fields: ClassVar = ["name", "owner"]

    def __init__(self, *args: Any, owners: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: The only owners whose sessions the person may make; None: anybody's.
        self.owners = owners

    def clean_owner(self) -> str:
        owner: str = self.cleaned_data["owner"]
        check_owner(owner, self.owners)
        return owner


def check_owner(owner: str, owners: list[str] | None) -> None:
    """Raise `ValidationError` where a person who is limited to `owners` (None: not limited) may not write this one."""
    if owners is not None and owner not in owners:
        raise ValidationError(
            _("Choose one of your owners: %(owners)s."), params={"owners": ", ".join(owners)}, code="not-yours"
        )


class PairingCodeForm(forms.Form):
    """The number of the phone that will type the code."""

    phone = forms.CharField(max_length=40, error_messages={"required": _("Write the phone's number first.")})

    def clean_phone(self) -> str:
        return read_phone(self.cleaned_data["phone"])


class ExpectedForm(forms.Form):
    """The number that a session is bound to; none is any."""

    phone = forms.CharField(max_length=40, required=False)

    def clean_phone(self) -> str:
        text: str = self.cleaned_data["phone"].strip()
        return read_phone(text) if text else ""


class SendForm(forms.Form):
    """A test message."""

    to = forms.CharField(label=_("To"), max_length=80, error_messages={"required": _("Write a phone number first.")})
    text = forms.CharField(
        label=_("Text"), max_length=4096, error_messages={"required": _("Write a text first.")}, strip=False
    )

    def clean_to(self) -> str:
        return read_chat(self.cleaned_data["to"])


class WebhookForm(forms.Form):
    """Whom to tell about what; no session is all sessions, and no event is all events."""

    url = forms.CharField(label=_("Address"), max_length=outbound.URL_LIMIT)
    session_id = forms.CharField(label=_("Session"), max_length=64, required=False)
    events = forms.MultipleChoiceField(
        label=_("Events"), required=False, choices=[(name, EventName(name).label) for name in SUBSCRIBABLE]
    )

    #: The session that was named.
    session: WhatsAppSession | None = None

    def __init__(
        self, *args: Any, visible: SessionQuerySet | None = None, must_name: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        #: The sessions that may be named, and whether one has to be.
        self.visible = WhatsAppSession.objects.all() if visible is None else visible
        self.must_name = must_name

    @classmethod
    def of(cls, webhook: Webhook) -> WebhookForm:
        """The form as it shows a webhook that exists."""
        chosen = [] if webhook.wants_all else webhook.events
        return cls(initial={"url": webhook.url, "session_id": webhook.session_code, "events": chosen})

    @property
    def chosen(self) -> list[str]:
        """The events that are ticked."""
        value: list[str] = self["events"].value() or []
        return value

    def clean_url(self) -> str:
        try:
            return outbound.check_url(self.cleaned_data["url"])
        except outbound.Refused as refusal:
            raise ValidationError(str(refusal), code="refused") from None

    def clean_session_id(self) -> str:
        wanted: str = self.cleaned_data["session_id"]
        if wanted:
            self.session = self.visible.filter(session_id=wanted).first()
            if self.session is None:
                raise ValidationError(_("There is no such session."), code="no-session")
        elif self.must_name:
            raise ValidationError(_("Name one of your sessions: others are not yours to hear of."), code="not-yours")
        return wanted

    def clean_events(self) -> list[Any]:
        return self.cleaned_data["events"] or [ALL_EVENTS]


class TokenForm(forms.Form):
    """A program's right to use the API; no session is all sessions."""

    name = forms.CharField(label=_("Name"), max_length=100)
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"), choices=Scope.choices, initial=[scope.value for scope in DEFAULT_SCOPES]
    )
    sessions = forms.CharField(label=_("Sessions"), max_length=2000, required=False)
    owner = forms.CharField(label=_("Owner"), max_length=100, required=False)
    days = forms.IntegerField(label=_("Days"), min_value=1, max_value=3650, required=False)

    def __init__(
        self, *args: Any, visible: SessionQuerySet | None = None, owners: list[str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        #: The sessions that may be named; the only owners whose sessions the person may open, None: anybody's.
        self.visible = WhatsAppSession.objects.all() if visible is None else visible
        self.owners = owners

    @property
    def chosen(self) -> list[str]:
        """The scopes that are ticked."""
        value: list[str] = self["scopes"].value() or []
        return value

    def clean_sessions(self) -> list[WhatsAppSession] | None:
        """The sessions with these ids, which commas or spaces separate; None where none is named."""
        wanted = re.split(r"[\s,]+", self.cleaned_data["sessions"].strip(", \t"))
        if wanted == [""]:
            return None
        found = self.visible.in_bulk(wanted, field_name="session_id")
        for session_id in wanted:
            if session_id not in found:
                raise ValidationError(_("There is no session %(id)s."), code="no-session", params={"id": session_id})
        return list(found.values())

    def clean_owner(self) -> str:
        owner: str = self.cleaned_data["owner"]
        check_owner(owner, self.owners)
        return owner
