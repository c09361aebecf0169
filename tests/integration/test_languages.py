"""The console in Brazilian Portuguese: every page of it, what is sent to nobody in particular, and who decides on the language."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import transaction
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from sessions_app import alerts, delivery, words
from sessions_app.hosting.lanes import Lane
from sessions_app.lifecycle import Command, Status
from sessions_app.models import (
    ApiToken,
    Backup,
    EventName,
    Message,
    OutboxEvent,
    PairingLink,
    Sample,
    SessionCommand,
    WebhookDelivery,
    WhatsAppSession,
)
from sessions_app.reasons import Reason
from sessions_app.webhooks import make as make_webhook
from tests import messages
from tests.pages import button_names, page, session_page, tag, text
from tests.processes import ROOT
from tests.rows import make_host, make_round, make_session, make_staff

pytestmark = pytest.mark.django_db

PORTUGUESE = {"accept-language": "pt-BR,pt;q=0.9,en-US;q=0.8"}
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
#: Texts long enough to be nobody's name, which no Portuguese page may hold.
ENGLISH = sorted(
    {
        message.id
        for message in messages.catalogue("pt_BR")
        if isinstance(message.id, str) and message.id.count(" ") >= 2 and "%(" not in message.id
        and message.string != message.id
    }
)  # fmt: skip


@pytest.fixture
def staff() -> Client:
    client = Client(headers=PORTUGUESE)
    client.force_login(make_staff())
    return client


@pytest.fixture
def session() -> WhatsAppSession:
    """A session with something on every panel."""
    made = make_session(
        Status.CONNECTED, session_id="shop", lease_host=make_host(), phone="5511987650001", paired_at=NOON
    )
    made.record("vault", source="vault", why="stale")
    made.record("recovery", seconds=1.5)
    made.record("export", actor="ana", keys=3, bytes=2048)
    made.record("link", actor="ana", outcome="revoked")
    made.record("status", status="WAITING", reason=Reason.CONNECTION_CUT.value)
    Backup.objects.create(session=made, keys=1200, bytes=2**20, duration_ms=40, differed=1)
    for kind, reason in (("conversation", ""), ("imageMessage", ""), ("text", Reason.NOT_ON_WHATSAPP.value)):
        Message.objects.create(
            session=made,
            direction="out",
            chat="5511987650002@s.whatsapp.net",
            kind=kind,
            status="failed",
            reason=reason,
        )
    SessionCommand.objects.create(session=made, verb="logout", requested_by="ana").finish(
        "failed", "The session is not connected, so WhatsApp cannot be told."
    )
    Sample.objects.create(connected=1, wanted=1)
    return made


def assert_portuguese(html: str, *expected: str) -> None:
    assert 'lang="pt-br"' in html
    said = text(html)
    for sentence in expected:
        assert sentence in said
    assert [english for english in ENGLISH if is_said(english, said) or f'"{english}"' in html] == []


def is_said(sentence: str, said: str) -> bool:
    """As words of their own: “há 24 h agora” is no “24 h ago”."""
    return sentence in said and bool(re.search(rf"(?<!\w){re.escape(sentence)}(?!\w)", said))


# --- every page ---------------------------------------------------------------------


def test_the_login_page() -> None:
    html = page(Client(headers=PORTUGUESE), "/login/")
    assert_portuguese(html, "Entrar", "Usuário", "Senha")
    wrong = Client(headers=PORTUGUESE).post("/login/", {"username": "ana", "password": "wrong"}).content.decode()
    assert_portuguese(wrong, "Por favor")


def test_the_overview_empty_and_full(staff: Client) -> None:
    assert_portuguese(page(staff, "/"), "Nenhuma sessão ainda", "Nenhum worker está em execução")
    make_session(Status.FAILED, reason=Reason.VAULT_UNREADABLE.value)
    make_host()
    Sample.objects.create(connected=0, wanted=1)
    html = page(staff, "/")
    assert_portuguese(html, "Com falha", "Não foi possível ler as credenciais guardadas", "no último dia", "Parar")
    assert_portuguese(page(staff, "/?status=CONNECTED"), "Nenhuma sessão encontrada.")


def test_a_sessions_page(staff: Client, session: WhatsAppSession) -> None:
    html = session_page(staff, session)
    assert_portuguese(
        html,
        "Conectada ao WhatsApp.",
        "“Desvincular” não funcionou: A sessão não está conectada, então não é possível avisar o WhatsApp.",
        "O arquivo de trabalho foi reconstruído a partir da cópia guardada.",
        "A conexão com o WhatsApp caiu.",
        "segundos: 1,5",
        "tamanho: 2,0 KB",
        "resultado: cancelado",
        "1200 chaves",
        "1 chave estava diferente e foi gravada",
        "Foto",
        "Não existe conta do WhatsApp com este número",
        "Zona de perigo",
    )
    assert "lang=pt-br" in tag(html, "feed")


@pytest.mark.parametrize("status", list(Status))
def test_a_sessions_page_in_every_status(staff: Client, status: Status) -> None:
    session = make_session(status, phone="" if status == Status.NEW else "5511987650001")
    make_round(session)
    with translation.override("pt-br"):
        label = str(words.STATUSES[status].label)
    assert_portuguese(session_page(staff, session), label)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/sessions/shop/confirm/delete", "Primeiro o celular +55 11 98765-0001 é desvinculado."),
        ("/sessions/shop/confirm/logout", "alguém precisa ler um novo código"),
        ("/sessions/shop/export", "A sessão está em execução aqui. Pare-a primeiro."),
        ("/sessions/shop/link", "Criar um link de pareamento"),
        ("/webhooks/", "Nenhum webhook ainda"),
        ("/tokens/", "Nenhum token ainda"),
    ],
)
def test_the_other_pages(staff: Client, session: WhatsAppSession, path: str, sentence: str) -> None:
    assert_portuguese(page(staff, path), sentence)


def test_pages_of_webhooks_and_tokens_that_are_there(staff: Client, session: WhatsAppSession) -> None:
    webhook, _secret = make_webhook("https://shop.example/oxy", session=session, events=["*"], by="ana")
    ApiToken.issue("Shop", by="ana", expires_at=timezone.now() + timedelta(days=1))
    assert_portuguese(page(staff, "/webhooks/"), "todos os eventos", "Ligado")
    assert_portuguese(page(staff, f"/webhooks/{webhook.code}/"), "As entregas são guardadas por uma semana.")
    assert_portuguese(page(staff, "/tokens/"), "Em vigor", "todas as sessões")


def test_what_a_customer_sees() -> None:
    session = make_session(Status.PAIRING, creds=None)
    make_round(session)
    customer = Client(headers=PORTUGUESE)
    assert_portuguese(page(customer, "/pair/"), "um link vale por uma hora e para um celular")
    _link, token = PairingLink.issue(session, by="ana")
    customer.post("/pair/open", {"token": token})
    html = page(customer, "/pair/")
    assert_portuguese(html, "código 3 de 6", "Configurações › Dispositivos conectados › Conectar dispositivo.")
    assert "English" in button_names(html)


def test_pages_about_what_cannot_be(staff: Client) -> None:
    assert_portuguese(staff.get("/nowhere").content.decode(), "Esta página não existe")
    viewer = Client(headers=PORTUGUESE)
    viewer.force_login(User.objects.create_user("bia", is_staff=True))
    assert_portuguese(viewer.get("/").content.decode(), "Seu perfil não permite isso")
    careless = Client(headers=PORTUGUESE, enforce_csrf_checks=True)
    assert_portuguese(careless.post("/login/").content.decode(), "Nada foi alterado.")
    with translation.override("pt-br"):
        assert_portuguese(render_to_string("500.html"), "Algo deu errado aqui")


ADMIN_PAGES = ("whatsappsession", "host", "sessionevent", "sessioncommand", "pairinground", "backup", "message", "webhook",
               "webhookdelivery", "outboxevent", "foreignstate", "apitoken", "authblob")  # fmt: skip


def test_admins_pages_name_our_rows_in_portuguese(staff: Client, session: WhatsAppSession) -> None:
    OutboxEvent.write(session, "session.status", {})
    assert_portuguese(page(staff, "/admin/"), "Tarefas em segundo plano", "Sessões do WhatsApp")
    for model in ADMIN_PAGES:
        assert_portuguese(page(staff, f"/admin/sessions_app/{model}/"))
    change = page(staff, f"/admin/sessions_app/whatsappsession/{session.pk}/change/")
    assert_portuguese(change, "Vinculada em", "Desvincular")
    assert "Conectada" in page(staff, "/admin/sessions_app/whatsappsession/?status__exact=CONNECTED")


# --- who decides ----------------------------------------------------------------------


def switch_to(client: Client, language: str, *, on: str) -> str:
    """Press the switch as a browser without JavaScript does; the page that comes."""
    html = page(client, on)
    form = re.search(r'<form class="languages".*?</form>', html, re.S)
    assert form, html
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form.group()))
    assert f'value="{language}"' in form.group()
    response = client.post(reverse("set_language"), {**fields, "language": language}, follow=True)
    assert response.status_code == 200
    return str(response.content.decode())


@pytest.mark.parametrize("path", ["/login/", "/pair/", "/?status=CONNECTED", "/webhooks/", "/admin/"])
def test_the_switch_changes_the_page_stays_on_it_and_is_remembered(path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    if path not in ("/login/", "/pair/"):
        client.force_login(make_staff())
    assert 'lang="en"' in page(client, path)
    html = switch_to(client, "pt-br", on=path)
    assert_portuguese(html)
    assert_portuguese(page(client, path))
    assert int(client.cookies["django_language"]["max-age"]) > 300 * 86_400
    assert 'lang="en"' in switch_to(client, "en", on=path)


def test_the_switch_is_not_offered_where_leaving_loses_what_is_shown_once(staff: Client) -> None:
    assert "English" in button_names(page(staff, "/tokens/"))
    made = staff.post("/tokens/new", {"name": "Shop", "scopes": ["read"]}).content.decode()
    assert tag(made, "token")
    assert "English" not in button_names(made)


def test_a_page_is_answered_in_its_own_language_whatever_another_tab_has_chosen(session: WhatsAppSession) -> None:
    client = Client()
    client.force_login(make_staff())
    assert '"X-Oxy-Language": "en"' in session_page(client, session)
    switch_to(client, "pt-br", on="/webhooks/")

    def ask(language: str) -> str:
        headers = {"HX-Request": "true", "X-Oxy-Language": language}
        return client.post(f"/sessions/{session.session_id}/backup", headers=headers).content.decode()

    assert "Last heard of the phone" in ask("en")
    assert "Último sinal do celular" in ask("pt-br")
    assert "Último sinal do celular" in ask("of nobody")


def test_a_browser_that_asks_for_neither_gets_the_installations_language(settings: Any) -> None:
    settings.LANGUAGE_CODE = "pt-br"
    assert_portuguese(page(Client(headers={"accept-language": "de"}), "/login/"))
    assert 'lang="en"' in page(Client(headers={"accept-language": "en"}), "/login/")


def test_the_api_says_what_is_wrong_with_a_field_in_the_readers_language() -> None:
    _token, secret = ApiToken.issue("tests", by="ana", scopes=["control", "read"])
    client = Client(headers={**PORTUGUESE, "Authorization": f"Bearer {secret}"})

    def ask(**fields: object) -> str:
        return str(client.post("/api/sessions", fields, content_type="application/json").json()["error"])

    assert ask(name="x" * 101) == "“name”: pode ter no máximo 100 caracteres."
    assert ask() == "“name”: é obrigatório."
    assert ask(name="Loja", colour="red") == "“colour”: este campo não existe aqui."
    assert client.get("/api/nothing").json()["error"] == "Não há nada aqui."


# --- what is sent to nobody in particular, and what stays English -----------------------------


def test_alerts_are_told_in_the_installations_language(settings: Any) -> None:
    settings.LANGUAGE_CODE, settings.OXY_ALERT_EMAILS = "pt-br", ["ops@oxy.example"]
    make_session(Status.WAITING, session_id="shop", reason=Reason.CONNECTION_CUT.value, paired_at=NOON)
    WhatsAppSession.objects.update(status_at=NOON)
    with translation.override(None):  # as in a worker
        alerts.watch(NOON + timedelta(days=1))
    body = mail.outbox[0].body
    assert "Shop (shop) não está conectada desde 01/06/2026 12:00 UTC. A conexão com o WhatsApp caiu." in body
    assert "Nenhum worker está em execução" in body


@pytest.mark.django_db(transaction=True)
def test_why_a_delivery_failed_is_kept_in_english_and_told_in_the_readers_language(
    staff: Client, settings: Any
) -> None:
    settings.LANGUAGE_CODE, settings.OXY_WEBHOOK_ALLOW_PRIVATE = "pt-br", True
    session = make_session(session_id="shop")
    webhook, _secret = make_webhook("http://127.0.0.1:9/oxy", session=session, events=["*"], by="ana")
    with transaction.atomic():
        OutboxEvent.write(session, EventName.SESSION_QR, {})
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = False
    delivery.deliver(linger=0)
    assert WebhookDelivery.objects.get().excerpt.startswith("This address leads to a private or local network")
    assert_portuguese(page(staff, f"/webhooks/{webhook.code}/"), "Este endereço leva a uma rede privada ou local")


def test_what_a_hosts_lanes_say_is_english(settings: Any) -> None:
    settings.LANGUAGE_CODE = "pt-br"
    said: list[str] = []

    class Runner:
        lane_key, finished = 1, True

        def save(self) -> None:
            pass

        def work(self) -> None:
            said.append(translation.gettext("The vault holds keys, but no credentials."))

    lane = Lane("test")
    lane.wake(Runner())
    lane.end(10)
    assert said == ["The vault holds keys, but no credentials."]


def test_the_command_line_speaks_english(tmp_path: Path) -> None:
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite3'}", "OXY_LANGUAGE": "pt-br"}
    command = [sys.executable, "manage.py", "doctor"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "Run: python manage.py migrate" in done.stdout
    assert "Execute" not in done.stdout


# --- numbers, dates, plurals -------------------------------------------------------------


def in_both(make: Callable[[], object]) -> tuple[str, str]:
    said = []
    for language in ("en", "pt-br"):
        with translation.override(language):
            said.append(str(make()).replace("\xa0", " "))
    return said[0], said[1]


def test_numbers_dates_and_plurals_are_written_as_the_language_does() -> None:
    assert in_both(lambda: filesizeformat(1536)) == ("1.5 KB", "1,5 KB")
    assert in_both(lambda: words.moment(NOON)) == ("2026-06-01 12:00 UTC", "01/06/2026 12:00 UTC")
    for count, english, portuguese in (
        (0, "0 sessions", "0 sessão"),
        (1, "1 session", "1 sessão"),
        (2, "2 sessions", "2 sessões"),
    ):
        told = in_both(lambda count=count: words.asked_of_many(Command.STOP, count, {"NEW": 1}))
        assert english in told[0]
        assert portuguese in told[1]


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("The session is not connected.", "A sessão não está conectada."),
        ("WhatsApp gave no pairing code: 429.", "O WhatsApp não forneceu um código de pareamento: 429."),
        ("Anything else: stays as it is.", "Anything else: stays as it is."),
        ("", ""),
    ],
)
def test_what_workers_wrote_down_is_told_in_the_readers_language(stored: str, told: str) -> None:
    assert in_both(lambda: words.told(stored)) == (stored, told)
