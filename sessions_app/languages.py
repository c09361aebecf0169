"""Which language an answer is in: the page's that asks, else what its reader has chosen, else what their browser prefers."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.middleware.locale import LocaleMiddleware
from django.utils import translation

#: Scripts of a page say in it which language the page is in: another tab may have chosen another one meanwhile.
HEADER = "X-Oxy-Language"


class PageLanguage(LocaleMiddleware):
    """Django's middleware, after a look at what a page's script says."""

    def process_request(self, request: HttpRequest) -> None:
        asked = request.headers.get(HEADER, "")
        if asked not in dict(settings.LANGUAGES):
            super().process_request(request)
            return
        translation.activate(asked)
        request.LANGUAGE_CODE = asked
