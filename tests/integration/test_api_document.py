"""The document drives the API: whatever it allows, and much that it does not, is answered as it says, and never with a fault of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
import schemathesis
from django.db import transaction
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis import Case

from sessions_app.api import waiting, whatsapp
from sessions_app.api.app import api
from sessions_app.models import WhatsAppSession
from tests.api import ApiClient

document = json.loads(json.dumps(api.get_openapi_schema(), default=str))
schema = schemathesis.openapi.from_dict(document)


@pytest.fixture
def client(db: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> ApiClient:
    settings.OXY_RATE_LIMIT = 0
    for module in (waiting, whatsapp):
        monkeypatch.setattr(module, "PATIENCE", 0.0)
    WhatsAppSession.objects.create(session_id="shop", name="Shop", status="CONNECTED", creds={"me": {}})
    WhatsAppSession.objects.create(session_id="new", name="New")
    return ApiClient()


@schema.parametrize()
@hypothesis_settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_no_request_makes_the_api_fail(case: Case, client: ApiClient) -> None:
    """Every generated request goes to a session that is connected, to one that is new, and to the one that was generated."""
    for name in ("shop", "new", None) if "session_id" in case.path_parameters else (None,):
        if name:
            case.path_parameters["session_id"] = name
        with transaction.atomic():
            answer = send(client, case)
            transaction.set_rollback(True)
        assert answer.status_code < 500 or answer.json()["code"] == "host-did-not-answer"
        if answer.status_code >= 400 and case.method != "HEAD":
            assert {"error", "code"} <= set(answer.json())
        elif case.method.lower() in document["paths"].get(case.path, {}):
            assert str(answer.status_code) in case.operation.definition.raw["responses"]


def send(client: ApiClient, case: Case) -> Any:
    """The request as it would leave a program, through Django's test client."""
    kwargs = case.as_transport_kwargs(base_url="http://testserver")
    kwargs.pop("cookies", None)
    made = requests.Request(**kwargs).prepare()
    headers = {
        name: value for name, value in made.headers.items() if name.lower() not in ("content-length", "authorization")
    }
    return client._client.generic(
        made.method, made.path_url, made.body or b"", headers.pop("Content-Type", "application/json"), headers=headers
    )
