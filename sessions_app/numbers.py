"""Phone numbers and WhatsApp addresses as people and programs write them."""

from __future__ import annotations

import re

import phonenumbers
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

#: What people write between the digits of a number.
_DECORATION = re.compile(r"[\s().\-/\u2010-\u2015\u00a0]")
#: A person by number, a person by LID (an id without a number), a group.
_ADDRESS = re.compile(r"\d{5,20}@s\.whatsapp\.net|\d{5,20}@lid|\d{5,20}(-\d{5,20})?@g\.us", re.ASCII)


def clean_phone(text: str) -> str:
    """A phone number as digits with its country code (E.164 without the plus); raises `ValidationError` with a sentence."""
    bare = _DECORATION.sub("", text)
    digits = bare.removeprefix("+").removeprefix("00") if bare.startswith(("+", "00")) else bare
    if not digits.isascii() or not digits.isdigit():
        raise ValidationError(_("A phone number is made of digits, like +55 11 98765-0001."), code="not-digits")
    if digits.startswith("0"):
        raise ValidationError(_("Begin with the country code, without zeros before it, like +55."), code="no-country")
    if len(digits) < 8:
        raise ValidationError(_("This number is too short. Does it have its country code?"), code="too-short")
    if len(digits) > 15:
        raise ValidationError(_("This number is too long: no phone number has more than 15 digits."), code="too-long")
    return digits


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


def as_typed(text: str) -> str:
    """What was typed so far, in the way of the number's country; as it is, where it is no number (yet)."""
    bare = _DECORATION.sub("", text)
    digits = bare.removeprefix("+").removeprefix("00") if bare.startswith(("+", "00")) else bare
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15:
        return text
    formatter, shown = phonenumbers.AsYouTypeFormatter("ZZ"), ""
    for character in f"+{digits}":
        shown = formatter.input_digit(character)
    return shown


def pretty(digits: str) -> str:
    """A stored number as its country writes it, like +55 11 98765-0001; +digits where nobody knows."""
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return f"+{digits}"
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def same_line(one: str, other: str) -> bool:
    """Whether two numbers (digits) are one telephone, where WhatsApp writes it with or without a digit of an older plan.

    Brazil's mobile numbers have a ninth digit that accounts from before it lack; Mexico's and Argentina's have a 1 or a 9 after the
    country code that some are registered with.
    """
    return _plain(one) == _plain(other)


_OLD_PLANS = (
    (re.compile(r"55(\d\d)9(\d{8})"), r"55\1\2"),
    (re.compile(r"521(\d{10})"), r"52\1"),
    (re.compile(r"549(\d{10})"), r"54\1"),
)


def _plain(digits: str) -> str:
    for pattern, plain in _OLD_PLANS:
        if found := pattern.fullmatch(digits):
            return found.expand(plain)
    return digits
