"""URLs of the console."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from sessions_app import installation_views, pairing_views, session_views, token_views, views, webhook_views
from sessions_app.sign_in import SignInForm

admin.site.login_form = SignInForm

urlpatterns = [
    path("", views.session_list, name="oxy-sessions"),
    path(
        "login/",
        LoginView.as_view(template_name="oxy/login.html", authentication_form=SignInForm),
        name="oxy-login",
    ),
    path("logout/", LogoutView.as_view(), name="oxy-logout"),
    path("sessions/new", views.new_session, name="oxy-new"),
    path("sessions/ask", views.command_many, name="oxy-command-many"),
    path("numbers/check", session_views.check_number, name="oxy-check-number"),
    path("sessions/<str:session_id>/send", session_views.send_message, name="oxy-send"),
    path("sessions/<str:session_id>/expect", session_views.expect_phone, name="oxy-expect"),
    path("sessions/<str:session_id>/link", pairing_views.make_link, name="oxy-link"),
    path("pair/", pairing_views.customer_page, name="oxy-pair"),
    path("pair/open", pairing_views.open_link, name="oxy-pair-open"),
    path("pair/round", pairing_views.customer_round, name="oxy-pair-round"),
    path("pair/code", pairing_views.customer_code, name="oxy-pair-code"),
    path("pair/number", pairing_views.customer_number, name="oxy-pair-number"),
    path("sessions/<str:session_id>/export", session_views.export, name="oxy-export"),
    path("sessions/<str:session_id>/", views.session_page, name="oxy-session"),
    path("sessions/<str:session_id>/confirm/<slug:verb>", views.confirm, name="oxy-confirm"),
    path("sessions/<str:session_id>/<slug:verb>", views.give_command, name="oxy-command"),
    path("webhooks/", webhook_views.webhook_list, name="oxy-webhooks"),
    path("webhooks/new", webhook_views.new_webhook, name="oxy-new-webhook"),
    path("webhooks/<uuid:code>/", webhook_views.webhook_page, name="oxy-webhook"),
    path("webhooks/<uuid:code>/change", webhook_views.change_webhook, name="oxy-change-webhook"),
    path("webhooks/<uuid:code>/<slug:verb>", webhook_views.command_webhook, name="oxy-webhook-command"),
    path("webhooks/<uuid:code>/deliveries/<uuid:delivery>/again", webhook_views.send_again, name="oxy-send-again"),
    path("installation/", installation_views.installation, name="oxy-installation"),
    path("installation/slow", installation_views.slow_findings, name="oxy-installation-slow"),
    path("tokens/", token_views.token_list, name="oxy-tokens"),
    path("tokens/new", token_views.new_token, name="oxy-new-token"),
    path("tokens/<int:pk>/revoke", token_views.revoke_token, name="oxy-revoke-token"),
]
