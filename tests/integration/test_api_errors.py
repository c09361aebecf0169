"""Every error of the API has one shape, wherever it comes from; and no answer and no log holds a secret."""

from __future__ import annotations

import json
import logging

import pytest
from django.db import OperationalError
from django.test import Client

from sessions_app.api.app import BODY_LIMIT, api
from sessions_app.api.errors import ERRORS
from sessions_app.models import Draft, WhatsAppSession
from tests.api import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(db: None) -> ApiClient:
    WhatsAppSession.objects.create(session_id="shop", name="Shop", creds={})
    return ApiClient()


@pytest.mark.parametrize(
    "body", ["", "{", "nonsense", '{"name": "x"', b"\xff\xfe", "[" * 100_000, '{"name": ' + "9" * 5000 + "}"]
)
def test_a_body_that_is_no_json_is_a_400(client, body):
    answer = client.post("/api/sessions", body)
    if body == "":  # nothing at all is a field that is missing
        assert answer.status_code == 422
    else:
        assert (answer.status_code, answer.json()["code"]) == (400, "bad-json")


@pytest.mark.parametrize("body", ["null", "[]", '"x"', "1", "{}", '{"name": 1}', '{"name": ""}', '{"name": "  "}'])
def test_a_body_of_another_shape_is_a_422(client, body):
    answer = client.post("/api/sessions", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "nmae": 1}, "nmae"),
        ({"name": "x", "session_id": "../x"}, "session_id"),
        ({"name": "x", "session_id": "a\n"}, "session_id"),
        ({"name": "x", "session_id": "x" * 65}, "session_id"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x\0y"}, "name"),
        ({"name": "x", "proxy_url": "ftp://host"}, "proxy_url"),
        ({"name": "x", "proxy_url": "http://"}, "proxy_url"),
        ({"name": "x", "proxy_url": "http://[half"}, "proxy_url"),
    ],
)
def test_the_field_that_is_wrong_is_named(client, body, field):
    answer = client.post("/api/sessions", body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("offset=-1", "offset"),
     ("offset=99999999999999999999", "offset"), ("status=connected", "status"), ("statsu=NEW", "statsu")],
)  # fmt: skip
def test_a_wrong_parameter_is_named(client, query, field):
    answer = client.get(f"/api/sessions?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_huge_body_is_a_413(client):
    for size in (BODY_LIMIT + 1, 9 * 1024 * 1024):
        answer = client.post("/api/sessions", json.dumps({"name": "x" * size}))
        assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_addresses_that_are_not_there_answer_in_json(client):
    for path in ("/api/nothing", "/api/sessions/shop/nothing", "/api/", "/whatsapp-nothing"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
        assert answer["Content-Type"] == "application/json"
    assert Client().get("/nothing")["Content-Type"].startswith("text/html")


def test_a_method_that_is_not_taken_names_those_that_are(client):
    answer = client._client.put("/api/sessions/shop")
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert {method.strip() for method in answer["Allow"].split(",")} == {"GET", "PATCH", "DELETE"}


@pytest.mark.parametrize("session_id", ["none", "%00", "a%0a", "x" * 500, "%F0%9F%98%80", "..", "shop%20"])
def test_a_session_that_is_not_there_is_a_404(client, session_id):
    answer = client.get(f"/api/sessions/{session_id}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error", "code"}


def test_a_fault_of_ours_is_a_500_that_tells_nobody_what_was_sent(client, monkeypatch, caplog):
    def fail(session: WhatsAppSession, draft: Draft, **more: object) -> None:
        raise RuntimeError(f"could not handle {draft.text}")

    monkeypatch.setattr(WhatsAppSession, "send", fail)
    with caplog.at_level(logging.DEBUG):
        answer = client.post("/api/sessions/shop/messages", {"to": "5511987650002", "text": "hello-secret"})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    (record,) = [record for record in caplog.records if record.msg.startswith("api_failed")]
    assert "_send" in record.getMessage()
    assert "hello-secret" not in caplog.text + answer.content.decode()


def test_a_database_that_is_away_is_a_503(client, monkeypatch):
    def gone(*args: object, **more: object) -> None:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(WhatsAppSession, "to_dict", gone)
    answer = client.get("/api/sessions/shop")
    assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
    assert answer["Retry-After"]


def test_a_header_that_is_no_token_is_not_logged(client, caplog, settings):
    settings.DEBUG = True
    with caplog.at_level(logging.DEBUG):
        for header in ("Basic dTpzZWNyZXQ=", "oxy_secret-without-scheme", "Bearer oxy_secret-that-is-wrong"):
            assert ApiClient(header=header).get("/api/sessions").status_code == 401
    assert "secret" not in caplog.text
    assert "dTpzZWNyZXQ" not in caplog.text


def test_errors_speak_the_readers_language_and_codes_do_not(client):
    answer = Client(headers={"accept-language": "pt-br"}).get("/api/sessions")
    assert answer.json()["code"] == "unauthorized"
    assert answer["Content-Language"] == "pt-br"


def test_nothing_of_the_api_is_kept_by_a_cache(client):
    for path in ("/api/sessions", "/api/sessions/none", "/api/openapi.json"):
        assert client.get(path)["Cache-Control"] == "no-store"


# --- the document -------------------------------------------------------------------


def operations() -> list[tuple[str, dict]]:
    document = json.loads(json.dumps(api.get_openapi_schema(), default=str))
    return [
        (f"{method} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


@pytest.mark.parametrize(("name", "operation"), operations())
def test_every_endpoint_is_explained_with_its_errors_and_an_example(name, operation):
    assert operation["summary"]
    assert operation["description"]
    assert operation["security"]
    assert {"401", "403", "429"} <= set(operation["responses"])
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            for code, example in response["content"]["application/json"]["examples"].items():
                assert ERRORS[code][0] == int(status)
                assert example["value"]["code"] == code


def test_the_document_is_for_staff_and_for_tokens_that_may_read(client, admin_client):
    assert admin_client.get("/api/docs").status_code == 200
    assert admin_client.get("/api/openapi.json").status_code == 200
    assert client.get("/api/openapi.json").json()["info"]["title"] == "Oxy"
    assert ApiClient(scopes=["send"]).get("/api/openapi.json").status_code == 403
    assert Client().get("/api/openapi.json").status_code == 401
    assert Client().get("/api/docs").status_code == 302
    assert client.get("/api/docs").status_code == 302
