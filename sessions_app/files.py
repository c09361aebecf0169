"""What a file is, and what may be sent as what: by its first bytes, whatever it is called."""

from __future__ import annotations

import mimetypes

import filetype
from django.utils.translation import gettext

#: What WhatsApp's apps show, by kind; a document is anything.
SHOWN = {
    "image": ("image/jpeg", "image/png"),
    "audio": ("audio/ogg", "audio/mpeg", "audio/mp4", "audio/aac", "audio/amr"),
    "video": ("video/mp4", "video/3gpp"),
}
VOICE = "audio/ogg"
#: Bytes that tell what a file is.
HEAD = 8192
UNKNOWN = "application/octet-stream"
#: What is in front of an audio file is often called by the name of the container alone.
_SAME = {"audio/x-m4a": "audio/mp4", "audio/m4a": "audio/mp4", "video/3gp": "video/3gpp", "video/x-m4v": "video/mp4"}


class WrongType(Exception):
    """A file that is not what it is to be sent as; the text is a sentence for people."""


def type_of(kind: str, data: bytes, *, filename: str = "", voice: bool = False) -> str:
    """The file's type as the message names it; raises `WrongType`."""
    found = str(filetype.guess_mime(data[:HEAD]) or "")
    found = _SAME.get(found, found)
    if kind == "document":
        return found or mimetypes.guess_type(filename)[0] or UNKNOWN
    allowed = (VOICE,) if voice else SHOWN[kind]
    if found not in allowed:
        raise WrongType(
            gettext("this is no file that WhatsApp shows in this way; it takes %(types)s.")
            % {"types": ", ".join(allowed)}
        )
    # Phones play a voice note only under its full name.
    return f"{VOICE}; codecs=opus" if voice else found
