"""Where live stores lie, and what happens when they cannot."""

from __future__ import annotations

import logging
import stat

import pytest

from sessions_app.hosting import session_path
from sessions_app.models import WhatsAppSession


@pytest.fixture
def fallback(tmp_path, monkeypatch):
    monkeypatch.setattr(session_path, "FALLBACK", tmp_path / "fallback")
    return tmp_path / "fallback"


def test_a_writable_path_is_used_and_said(settings, tmp_path, caplog):
    settings.WHATSAPP_SESSION_PATH = str(tmp_path / "sessions")
    with caplog.at_level(logging.INFO):
        chosen = session_path.choose()
    assert (chosen.root, chosen.fell_back) == (tmp_path / "sessions", False)
    assert f"Session path is writable: {tmp_path / 'sessions'}" in caplog.text


def test_a_path_that_cannot_be_written_falls_back_and_warns(settings, tmp_path, fallback, caplog):
    (tmp_path / "file").write_text("")
    settings.WHATSAPP_SESSION_PATH = str(tmp_path / "file" / "sessions")
    chosen = session_path.choose()
    assert (chosen.root, chosen.fell_back) == (fallback, True)
    assert "cannot be written" in caplog.text
    assert str(fallback) in caplog.text


def test_without_any_path_a_sentence_names_both(settings, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    settings.WHATSAPP_SESSION_PATH = str(tmp_path / "file" / "a")
    monkeypatch.setattr(session_path, "FALLBACK", tmp_path / "file" / "b")
    with pytest.raises(OSError, match="Neither"):
        session_path.choose()


@pytest.mark.parametrize(
    ("owner", "name"), [("", "shop"), ("42", "42_shop"), ("Ana Lima", "Ana-Lima_shop"), ("../../etc", "etc_shop")]
)
def test_a_directory_is_named_for_owner_and_session_and_stays_inside(owner, name):
    assert session_path.directory_name(WhatsAppSession(session_id="shop", owner=owner)) == name


def test_a_new_directory_is_private_and_said(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        made = session_path.SessionPath(tmp_path).directory(WhatsAppSession(session_id="shop"))
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert "Created new auth directory for instance shop" in caplog.text
