"""Template tags of the console: status badges, icons, times, and words for codes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from sessions_app import numbers, words
from sessions_app.lifecycle import Command

register = template.Library()
register.filter("sentence", words.sentence)
register.filter("next_step", words.next_step)
register.filter("actor", words.actor)
register.filter("message_label", words.message_label)
register.filter("message_facts", words.message_facts)
register.filter("event_title", words.event_title)
register.filter("event_sentence", words.event_sentence)
register.filter("event_facts", words.event_facts)
register.filter("told", words.told)


@register.simple_tag
def icon(name: str) -> SafeString:
    """A symbol of static/icons.svg, hidden from screen readers: a word always stands beside it."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("icons.svg"),
        name,
    )


@register.simple_tag
def badge(status: str, element_id: str = "") -> SafeString:
    """A status as icon and word."""
    said = words.status_words(status)
    return format_html(
        '<span{} class="badge tone-{}" data-status="{}">{}{}</span>',
        format_html(' id="{}"', element_id) if element_id else "",
        said.tone,
        status,
        icon(said.icon),
        said.label,
    )


@register.simple_tag
def when(moment: datetime | None) -> SafeString:
    """A time. The page's script turns it into the reader's own zone, and says how long ago it was."""
    if moment is None:
        return format_html('<span class="never">{}</span>', gettext("never"))
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(timespec="milliseconds"), words.moment(moment))


@register.simple_tag
def ticks(message: Any) -> SafeString:
    """How far an outgoing message has come: WhatsApp's ticks, and the word for them."""
    name = {"queued": "waiting", "sending": "waiting", "failed": "failed", "sent": "tick"}.get(message.status, "ticks")
    tone = {"read": " ticks-read", "failed": " ticks-failed"}.get(message.status, "")
    return format_html('<span class="ticks{}">{} {}</span>', tone, icon(name), message.get_status_display())


@register.filter
def milliseconds(moment: datetime | None) -> str:
    """A time as Unix milliseconds, for scripts."""
    return str(int(moment.timestamp() * 1000)) if moment else ""


@register.filter
def number(digits: str) -> str:
    """A phone number as its country writes it."""
    return numbers.pretty(digits.lstrip("+")) if digits else ""


@register.filter
def peer(jid: str) -> str:
    """The other side of a chat: a number where the address holds one, else the address."""
    user, _, server = jid.partition("@")
    return number(user) if server == "s.whatsapp.net" else jid


@register.filter
def label(command: str) -> Any:
    """The name of a command's button."""
    return words.COMMANDS[Command(command)]
