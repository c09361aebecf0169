"""Forms of the console."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from sessions_app.models import WhatsAppSession

if TYPE_CHECKING:
    SessionModelForm = forms.ModelForm[WhatsAppSession]
else:
    SessionModelForm = forms.ModelForm

#: What people write between the digits of a number.
_DECORATION = re.compile(r"[\s().\-/\u2010-\u2015\u00a0]")


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


class NewSessionForm(SessionModelForm):
    """A session is made from a name; whose it is can be said too."""

    class Meta:
        model = WhatsAppSession
        fields: ClassVar = ["name", "owner"]


class PairingCodeForm(forms.Form):
    """The number of the phone that will type the code."""

    phone = forms.CharField(max_length=40, error_messages={"required": _("Write the phone's number first.")})

    def clean_phone(self) -> str:
        return clean_phone(self.cleaned_data["phone"])
