"""What a customer sees who has a pairing link: how the linking of one phone goes, and nothing else of the session or of the console."""

from __future__ import annotations

from typing import Any

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext

from sessions_app import panels, words
from sessions_app.lifecycle import Command, Status
from sessions_app.models import PairingLink, WhatsAppSession
from sessions_app.panels import Panel
from sessions_app.reasons import Reason

PANELS = ("outcome", "pairing", "code")
#: The key of the pairing link in a visitor's login session.
HELD = "pairing_link"
#: Reasons that are about linking a phone: of any other the customer learns nothing.
_TOLD = {
    Reason.PAIRING_TIMED_OUT,
    Reason.PAIRING_INTERRUPTED,
    Reason.PAIRING_REFUSED,
    Reason.WRONG_NUMBER,
    Reason.PASSKEY_NEEDED,
    Reason.SCANNED,
}


def held_link(login: Any) -> PairingLink | None:
    """The link that this visitor has opened, in force or not."""
    return PairingLink.objects.filter(pk=login.get(HELD)).first() if login.get(HELD) else None


def customer_panels(link: PairingLink) -> list[Panel]:
    """The panels of a customer's page as this link allows them now."""
    link.refresh_from_db()
    session = panels.public(WhatsAppSession.objects.filter(pk=link.session_id)).get()
    context = {"link": link, "outcome": _outcome(link, session), "pairs": False}
    if link.in_force and session.allows(Command.PAIRING_CODE):
        context |= {"pairs": True, "session": session, **panels.pairing_context(session), **_addresses()}
    return [Panel(name, render_to_string(_template(name), context).strip()) for name in PANELS]


def _template(name: str) -> str:
    return "oxy/panels/outcome.html" if name == "outcome" else f"oxy/panels/{name}.html"


def _addresses() -> dict[str, str]:
    """Where the buttons of the panels lead a customer."""
    return {
        "new_round_url": reverse("oxy-pair-round"),
        "code_url": reverse("oxy-pair-code"),
        "check_url": reverse("oxy-pair-number"),
    }


def _outcome(link: PairingLink, session: WhatsAppSession) -> dict[str, str]:
    """What has happened, what to do, and how it looks (a tone of static/status.css)."""
    if link.used_at:
        return {"said": gettext("The phone is linked. You can close this page."), "tone": "ok", "icon": "connected"}
    if not link.in_force:
        said = gettext("This link is no longer valid. Ask whoever sent it for a new one.")
        return {"said": said, "tone": "bad", "icon": "failed"}
    if session.status == Status.PAIRING:
        return {"said": gettext("Waiting for your phone to scan the code."), "tone": "busy", "icon": "pairing"}
    if session.reason in _TOLD:
        linking = session.reason == Reason.SCANNED
        return {
            "said": words.sentence(session.reason),
            "step": "" if linking else words.next_step(session.reason),
            "tone": "busy" if linking else "warn",
            "icon": "connecting" if linking else "failed",
        }
    if session.allows(Command.PAIRING_CODE):
        return {"said": gettext("Press the button to get a code."), "tone": "idle", "icon": "new"}
    return {"said": gettext("A phone is linked already, or is being linked."), "tone": "ok", "icon": "connected"}
