"""URLs of the whole product."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from sessions_app.api.app import api

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("sessions_app.urls")),
    path("", api.urls),
]
