"""Every text for people is wrapped, in the catalogue, and translated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.template.base import Lexer, TokenType
from django.utils import translation

from sessions_app import words
from sessions_app.reasons import EXPLANATIONS, Reason
from tests import messages
from tests.processes import ROOT

SHOWN_ATTRIBUTES = ("alt", "aria-label", "placeholder", "title")
#: Names and units, which are the same in every language.
SAME_EVERYWHERE = {"Oxy", "ms", "UTC"}
WORD = re.compile(r"[A-Za-zÀ-ÿ]{2,}")


# --- the catalogues ---------------------------------------------------------------


@pytest.mark.parametrize("locale", messages.LOCALES)
def test_every_text_is_translated_and_the_compiled_catalogue_is_fresh(locale: str) -> None:
    assert messages.problems(locale) == [], "make messages, then translate what it lists in locale/"


def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> list[str]:
    """What is said about a catalogue in which somebody has replaced something."""
    text = (messages.folder("pt_BR") / "django.po").read_text()
    assert text.count(old) == 1
    (tmp_path / "django.po").write_text(text.replace(old, new))
    monkeypatch.setattr(messages, "folder", lambda locale: tmp_path)
    (tmp_path / "django.mo").write_bytes(messages.compiled(messages.catalogue("pt_BR")))
    return messages.problems("pt_BR")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('msgid "Sign out"', 'msgid "Sign off"', "not in the catalogue: 'Sign out'"),
        ('msgid "Sign out"\nmsgstr "Sair"', 'msgid "Sign out"\nmsgstr ""', "not translated: 'Sign out'"),
        ('msgid "Sign out"', '#, fuzzy\nmsgid "Sign out"', "fuzzy: 'Sign out'"),
        ("“%(name)s” está sendo excluída.", "“%(nome)s” está sendo excluída.", "other placeholders: '“%(name)s”"),
        ('msgstr[1] "%(n)s mensagens"', 'msgstr[1] "mensagens"', "other placeholders: '%(n)s messages'"),
    ],
)
def test_a_catalogue_that_somebody_damaged_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, complaint: str
) -> None:
    assert any(line.startswith(complaint) for line in damaged(tmp_path, monkeypatch, old, new))


def test_a_compiled_catalogue_that_is_older_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged(tmp_path, monkeypatch, '"Sair"', '"Encerrar"')
    compiled = (tmp_path / "django.mo").read_bytes()
    (tmp_path / "django.mo").write_bytes(compiled.replace(b"Encerrar", b"Terminar"))
    assert "the compiled catalogue is not made from this one" in messages.problems("pt_BR")


def test_texts_of_templates_are_found_with_their_plurals_and_contexts() -> None:
    source = """
      {% load i18n %}{% if one %}{% translate "First" %}{% endif %}{% translate 'All' context 'boats' %}
    {% blocktranslate count n=boats with of=all %}{{ n }} boat of {{ of }}{% plural %}{{ n }} boats of {{ of }}{% endblocktranslate %}
    """
    assert messages.in_template(source) == [
        ("First", None),
        ("All", "boats"),
        (("%(n)s boat of %(of)s", "%(n)s boats of %(of)s"), None),
    ]


# --- what cannot be translated -------------------------------------------------------


class Words(HTMLParser):
    """Collects what people read or hear of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        # Where a tag's end stands in branches of the template, only one of them is its end.
        self.found += WORD.findall(re.sub(r'\S*">', "", data))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in SHOWN_ATTRIBUTES and not (value or "").startswith("https://"):
                self.found += WORD.findall(value or "")


def unwrapped(source: str) -> list[str]:
    """Words of a template that stand outside of translation."""
    parser = Words()
    parser.feed("".join(_plain(source)))
    return [word for word in parser.found if word not in SAME_EVERYWHERE]


def _plain(source: str) -> Iterator[str]:
    inside = ""
    for token in Lexer(source).tokenize():
        name = token.contents.split(" ")[0] if token.token_type == TokenType.BLOCK else ""
        if name in ("blocktranslate", "comment"):
            inside = name
        elif inside and name == f"end{inside}":
            inside = ""
        elif token.token_type == TokenType.TEXT and not inside:
            yield token.contents


@pytest.mark.parametrize("path", sorted((ROOT / "templates").rglob("*.html")), ids=lambda path: path.name)
def test_no_template_speaks_outside_of_translation(path: Path) -> None:
    assert unwrapped(path.read_text()) == []


def test_a_template_that_does_is_noticed() -> None:
    assert unwrapped('<p title="Hello there">{% translate "fine" %} Oxy {{ name }}</p><b>bare</b>') == [
        "Hello",
        "there",
        "bare",
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "static").glob("*.js")), ids=lambda path: path.name)
def test_no_script_of_the_console_has_words_of_its_own(path: Path) -> None:
    """They take them from the page, which the server has translated."""
    code = re.sub(r"//.*", "", path.read_text())
    assert re.findall(r"""["'`](?:[A-Z][a-z]+ [^"'`]*|[A-Z][^"'`]*[.!?…])["'`]""", code) == []


# --- reasons ---------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.NONE])
def test_every_reason_says_in_both_languages_what_happened_and_what_to_do(reason: Reason) -> None:
    explanation = EXPLANATIONS[reason]
    with translation.override("pt-br"):
        said, step = words.sentence(reason), words.next_step(reason)
    assert said
    assert said != explanation.sentence
    assert said.endswith(".")
    assert bool(step) == bool(explanation.action)
    assert not step or (step != explanation.action and step.endswith("."))
