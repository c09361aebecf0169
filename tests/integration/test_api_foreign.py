"""The vault for outside Baileys services: what goes in comes out, all or nothing, and nobody else's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions_app.models import ApiToken, AuthBlob, ForeignFile, ForeignState, Scope, WhatsAppSession
from sessions_app.vault import crypto, foreign
from tests.api import ApiClient

pytestmark = pytest.mark.django_db
FILES = {"creds.json": '{"noiseKey":{"private":"c2VjcmV0"}}', "pre-key-1.json": '{"ü":"\\u0000 🦊"}', "empty.json": ""}
Call = Callable[..., HttpResponse]


def caller(scopes: tuple[str, ...] = (Scope.VAULT,), **limits: Any) -> Call:
    _token, text = ApiToken.issue("tests", by="tester", scopes=scopes, **limits)
    client = Client(headers={"Authorization": f"Bearer {text}"})

    def call(method: str, path: str, body: Any = None) -> HttpResponse:
        data = None if body is None else json.dumps(body)
        return client.generic(method, f"/api/session/{path}", data or "", content_type="application/json")  # type: ignore[return-value]

    return call


@pytest.fixture
def call(db: None) -> Call:
    return caller()


def backup(call: Call, files: dict[str, Any] = FILES, session_id: str = "shop", method: str = "POST") -> HttpResponse:
    return call(method, "backup", {"session_data": files, "session_id": session_id})


def restored(call: Call, session_id: str = "shop") -> dict[str, str]:
    answer = call("GET", f"restore?session_id={session_id}")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"session_data", "session_id", "updated_at"}
    return body["session_data"]  # type: ignore[no-any-return]


# --- in and out -----------------------------------------------------------------


def test_a_state_comes_back_as_it_went_in(call: Call) -> None:
    answer = backup(call)
    assert answer.status_code == 200
    assert (answer.json()["session_id"], answer.json()["files"]) == ("shop", 3)
    assert restored(call) == FILES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(texts=st.lists(st.text(), min_size=1, max_size=5))
def test_any_text_comes_back_byte_for_byte(call: Call, texts: list[str]) -> None:
    files = {f"session-{number}.0.json": text for number, text in enumerate(texts)}
    assert backup(call, files).status_code == 200
    assert restored(call) == files


def test_a_backup_replaces_the_whole_state(call: Call) -> None:
    backup(call)
    backup(call, {"creds.json": "{}"})
    assert restored(call) == {"creds.json": "{}"}


def test_a_backup_writes_only_what_has_changed(call: Call) -> None:
    backup(call)
    before = dict(ForeignFile.objects.values_list("name", "updated_at"))
    # One that cannot be opened any more is written anew.
    ForeignFile.objects.filter(name="empty.json").update(sealed=b"broken")
    backup(call, FILES | {"creds.json": "new"})
    after = dict(ForeignFile.objects.values_list("name", "updated_at"))
    assert [name for name in sorted(FILES) if after[name] != before[name]] == ["creds.json", "empty.json"]
    assert restored(call) == FILES | {"creds.json": "new"}


def test_a_partial_update_changes_what_it_names_and_deletes_what_is_null(call: Call) -> None:
    backup(call)
    answer = backup(call, {"creds.json": "new", "empty.json": None, "never-there": None, "a.json": "a"}, method="PATCH")
    assert answer.json()["files"] == 3
    assert restored(call) == {"creds.json": "new", "pre-key-1.json": FILES["pre-key-1.json"], "a.json": "a"}


def test_a_partial_update_of_nothing_is_404_and_stores_nothing(call: Call) -> None:
    assert backup(call, {"creds.json": "{}"}, method="PATCH").status_code == 404
    assert not ForeignState.objects.exists()


def test_a_state_that_is_not_there_is_404(call: Call) -> None:
    answer = call("GET", "restore?session_id=shop")
    assert (answer.status_code, answer.json()["code"]) == (404, "backup-not-found")
    assert call("DELETE", "delete?session_id=shop").status_code == 404
    assert call("GET", "restore?session_id=%00").status_code == 404
    assert call("GET", "status?session_id=%00").json() == {"items": [], "count": 0}


def test_a_deleted_state_is_gone(call: Call) -> None:
    backup(call)
    assert call("DELETE", "delete?session_id=shop").json() == {"session_id": "shop", "deleted": True}
    assert call("GET", "restore?session_id=shop").status_code == 404
    assert not ForeignFile.objects.exists()


def test_status_lists_what_is_stored(call: Call) -> None:
    for name in ("shop", "bar", "kiosk"):
        backup(call, session_id=name)
    page = call("GET", "status?limit=2").json()
    assert ([item["session_id"] for item in page["items"]], page["count"]) == (["bar", "kiosk"], 3)
    assert page["items"][0]["files"] == 3
    assert call("GET", "status?session_id=shop").json()["count"] == 1
    assert call("GET", "status?session_id=other").json() == {"items": [], "count": 0}
    assert call("GET", "status?limit=0").status_code == 422


# --- at rest ----------------------------------------------------------------------


def test_files_are_sealed_and_bound_to_their_place(call: Call) -> None:
    backup(call)
    for file in ForeignFile.objects.all():
        assert b"secret" not in bytes(file.sealed)
        assert b"c2VjcmV0" not in bytes(file.sealed)
    creds, other = ForeignFile.objects.get(name="creds.json"), ForeignFile.objects.get(name="empty.json")
    ForeignFile.objects.filter(pk=other.pk).update(sealed=creds.sealed)

    answer = call("GET", "restore?session_id=shop")

    # Never 404: a client that takes "unreadable" for "absent" would ask for a new scan and overwrite it.
    assert (answer.status_code, answer.json()["code"]) == (500, "backup-unreadable")
    assert "c2VjcmV0" not in answer.content.decode()


def test_a_state_is_bound_to_its_owner_and_id(call: Call) -> None:
    backup(call)
    ForeignState.objects.update(session_id="other")
    with pytest.raises(crypto.Unreadable):
        foreign.read("", "other")


def test_a_native_session_of_the_same_id_is_not_touched(call: Call) -> None:
    WhatsAppSession.objects.create(session_id="shop", name="Shop")
    backup(call)
    assert not AuthBlob.objects.exists()
    assert not WhatsAppSession.objects.get().has_creds


# --- all or nothing ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../creds.json", "a/b", "a\\b", "..", ".hidden", "", "a\0b", "a\nb", "x" * 256])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_bad_file_name_is_refused_and_nothing_changes(call: Call, method: str, name: str) -> None:
    backup(call)
    answer = backup(call, {"creds.json": "new", name: "text"}, method=method)
    assert answer.status_code == 422
    assert answer.json()["error"].endswith(".")
    assert restored(call) == FILES


@pytest.mark.parametrize("session_id", ["", "a/b", "a b", "x" * 129, "a\0"])
def test_a_bad_session_id_is_refused(call: Call, session_id: str) -> None:
    assert backup(call, session_id=session_id).status_code == 422
    assert not ForeignState.objects.exists()


def test_an_empty_backup_does_not_erase_the_stored_one(call: Call) -> None:
    backup(call)
    assert backup(call, {}).status_code == 422
    assert restored(call) == FILES


def test_more_than_a_state_may_hold_is_refused_and_nothing_changes(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    backup(call)
    monkeypatch.setattr(foreign, "MAX_FILES", 3)
    assert backup(call, {"one-more.json": "{}"}, method="PATCH").status_code == 422
    monkeypatch.setattr(foreign, "MAX_BYTES", 500)
    assert backup(call, {"creds.json": "x" * 500}).status_code == 422
    assert restored(call) == FILES


@pytest.mark.django_db(transaction=True)
def test_a_write_that_fails_in_the_middle_changes_nothing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    backup(call)

    def fail(state: ForeignState) -> ForeignState:
        raise OSError("the disk is full")

    monkeypatch.setattr(foreign, "_counted", fail)
    assert backup(call, {"creds.json": "new"}).status_code == 500
    assert restored(call) == FILES


@pytest.mark.parametrize(
    "body",
    [
        {"session_id": "shop"},
        {"session_data": FILES},
        {"session_id": "shop", "session_data": {"a": {"not": "a text"}}},
        {"session_id": "shop", "session_data": {"a": None}},
        {"session_id": "shop", "session_data": [], "more": 1},
        {"session_id": "shop", "session_data": FILES, "unknown": 1},
    ],
)
def test_a_body_of_another_shape_is_refused(call: Call, body: dict[str, Any]) -> None:
    assert call("POST", "backup", body).status_code == 422
    assert not ForeignState.objects.exists()


def test_a_writer_that_has_not_seen_the_latest_state_is_refused() -> None:
    first, second = ApiClient(scopes=[Scope.VAULT]), ApiClient(scopes=[Scope.VAULT])
    body = {"session_id": "shop", "session_data": FILES}
    seen = first.post("/api/session/backup", body)["ETag"]
    assert second.get("/api/session/restore?session_id=shop")["ETag"] == seen

    mine = {"session_id": "shop", "session_data": {"creds.json": "mine"}}
    answer = second.patch("/api/session/backup", mine, **{"if-match": seen})
    assert answer.status_code == 200
    # What the first one knows is old now: whatever it writes would be half of another state.
    for write in (first.patch, first.post):
        late = write("/api/session/backup", {"session_id": "shop", "session_data": {"a": "late"}}, **{"if-match": seen})
        assert (late.status_code, late.json()["code"]) == (412, "backup-changed")

    assert second.get("/api/session/restore?session_id=shop").json()["session_data"] == FILES | {"creds.json": "mine"}
    assert second.post("/api/session/backup", body, **{"if-match": answer["ETag"]}).status_code == 200


@pytest.mark.parametrize("tag", ["", "x", '"1"', '"99999999999999999"', '"' + "9" * 30 + '"', "*"])
def test_a_tag_that_was_never_given_writes_nothing(call: Call, tag: str) -> None:
    backup(call)
    client = ApiClient(scopes=[Scope.VAULT])
    body = {"session_id": "shop", "session_data": {"a": "b"}}
    assert client.patch("/api/session/backup", body, **{"if-match": tag}).status_code == 412
    assert restored(call) == FILES


# --- whose --------------------------------------------------------------------------------


def test_no_owner_meets_the_state_of_another(call: Call) -> None:
    ana, bia = caller(owner="ana"), caller(owner="bia")
    backup(ana)
    assert bia("GET", "restore?session_id=shop").status_code == 404
    assert bia("DELETE", "delete?session_id=shop").status_code == 404
    assert backup(bia, {"a": "b"}, method="PATCH").status_code == 404
    assert bia("GET", "status").json()["count"] == call("GET", "status").json()["count"] == 0
    backup(bia, {"creds.json": "bia's"})
    assert restored(ana) == FILES


def test_a_new_token_of_the_same_owner_finds_the_state() -> None:
    backup(caller(owner="ana"))
    assert restored(caller(owner="ana")) == FILES


def test_a_token_for_certain_sessions_reaches_only_their_ids(call: Call) -> None:
    limited = caller(sessions=[WhatsAppSession.objects.create(session_id="shop", name="Shop")])
    assert backup(limited).status_code == 200
    backup(call, session_id="other")
    assert backup(limited, session_id="other").status_code == 404
    assert limited("GET", "restore?session_id=other").status_code == 404
    assert limited("GET", "status").json()["count"] == 1


def test_without_the_scope_there_is_nothing_to_be_had() -> None:
    call = caller((Scope.READ, Scope.SEND, Scope.CONTROL, Scope.ADMIN))
    assert backup(call).status_code == 403
    assert call("GET", "status").status_code == 403
    assert Client().get("/api/session/restore?session_id=shop").status_code == 401


def test_staff_see_what_is_stored_and_how_large_and_nothing_of_what_it_says(call: Call, admin_client: Client) -> None:
    backup(call)
    state = ForeignState.objects.get()
    for page in ("/admin/sessions_app/foreignstate/", f"/admin/sessions_app/foreignstate/{state.pk}/change/"):
        shown = admin_client.get(page).content.decode()
        assert "shop" in shown
        assert "bytes" in shown
        assert "c2VjcmV0" not in shown
        assert "creds.json" not in shown
    answer = admin_client.post(f"/admin/sessions_app/foreignstate/{state.pk}/change/", {"session_id": "stolen"})
    assert answer.status_code == 403
    assert restored(call) == FILES


# --- size --------------------------------------------------------------------------------------


def test_a_thousand_files_and_four_megabytes_go_in_and_out_within_a_second_each(call: Call) -> None:
    files = {f"session-{number}_1.0.json": f"{number:04}" * 1024 for number in range(1000)}
    assert sum(map(len, files.values())) >= 4_000_000
    body = {"session_data": files, "session_id": "shop"}

    def seconds(method: str, path: str, body: Any = None) -> float:
        started = time.perf_counter()
        assert call(method, path, body).status_code == 200
        return time.perf_counter() - started

    # The best of three: other programs on this machine are not what is measured.
    first = min(seconds("POST", "backup", body | {"session_id": f"shop-{number}"}) for number in range(3))
    again = min(seconds("POST", "backup", body | {"session_id": "shop-1"}) for _ in range(3))
    out = min(seconds("GET", "restore?session_id=shop-1") for _ in range(3))

    assert restored(call, "shop-1") == files
    assert max(first, again, out) < 1, (first, again, out)


def test_more_than_eight_megabytes_in_one_call_are_refused(call: Call) -> None:
    assert backup(call, {"creds.json": "x" * 9_000_000}).status_code == 413
