"""Phone numbers and WhatsApp addresses as people and programs write them."""

from __future__ import annotations

import re

import phonenumbers
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from sessions_app.forms import clean_phone

#: A person by number, a person by LID (an id without a number), a group.
_ADDRESS = re.compile(r"\d{5,20}@s\.whatsapp\.net|\d{5,20}@lid|\d{5,20}(-\d{5,20})?@g\.us", re.ASCII)


def read_phone(text: str) -> str:
    """A number that can exist, as digits with its country code (E.164 without the plus); `ValidationError` with a sentence."""
    digits = clean_phone(text)
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        raise ValidationError(_("No country has this country code."), code="no-country") from None
    # Possible, not valid: which ranges are in use changes faster than any copy of the list.
    if not phonenumbers.is_possible_number(number):
        raise ValidationError(_("No number of this country has this many digits."), code="impossible")
    return digits


def read_chat(text: str) -> str:
    """Where to send: a phone number in any usual form, or a JID; returns the JID, raises `ValidationError` with a sentence."""
    text = text.strip()
    if "@" not in text:
        return f"{read_phone(text)}@s.whatsapp.net"
    if not _ADDRESS.fullmatch(text):
        raise ValidationError(
            _("An address ends in @s.whatsapp.net, @lid or @g.us, with digits before that."), code="bad-address"
        )
    return text
