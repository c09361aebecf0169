"""The catalogues of `locale/`: `python -m tests.messages` takes up what the code says now, keeps every translation, and compiles.

`problems()` is what the tests ask. Compiled catalogues are committed: whoever runs Oxy needs no tool for them.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import django_q
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract, extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

from sessions_app.reasons import EXPLANATIONS
from tests.processes import ROOT

LOCALES = ("pt_BR",)
CODE = ("oxy", "sessions_app")
REASONS = "sessions_app/reasons.py"
#: Admin shows these pages of the queue, and its authors have no Portuguese.
BORROWED = ("admin.py", "models.py")
KEYWORDS = DEFAULT_KEYWORDS | {
    name + suffix: DEFAULT_KEYWORDS[name]
    for name in ("gettext", "ngettext", "pgettext", "npgettext")
    for suffix in ("_lazy", "_noop")
}
#: A text, or its singular and plural; and its context, where one text means two things.
Text = tuple[str | tuple[str, str], str | None]
_PLACEHOLDER = re.compile(r"%\(\w+\)[\d.]*[a-z]|%[ds]|\{\w*\}")


def folder(locale: str) -> Path:
    return ROOT / "locale" / locale / "LC_MESSAGES"


# --- what the code says -------------------------------------------------------------------


def said() -> Catalog:
    """Every text for people, in the order of the files."""
    found = Catalog(charset="utf-8")
    for path, texts in _texts():
        for text, context in texts:
            found.add(text, locations=[(path, 0)], context=context)
    return found


def _texts() -> Iterator[tuple[str, list[Text]]]:
    for part in CODE:
        for path in sorted((ROOT / part).rglob("*.py")):
            if "migrations" not in path.parts:
                yield str(path.relative_to(ROOT)), _in_code(path.read_bytes())
    yield REASONS, [(text, None) for each in EXPLANATIONS.values() for text in (each.sentence, each.action) if text]
    for path in sorted((ROOT / "templates").rglob("*.html")):
        yield str(path.relative_to(ROOT)), in_template(path.read_text())
    for name in BORROWED:
        yield f"django_q/{name}", _in_code((Path(django_q.__file__).parent / name).read_bytes())


def _in_code(source: bytes) -> list[Text]:
    found = extract(extract_python, io.BytesIO(source), KEYWORDS)
    return [(text, context) for _line, text, _comments, context in found if text]


def in_template(source: str) -> list[Text]:
    """Django makes something like Python of a template, whose indentation means nothing."""
    lines = (line.strip() for line in templatize(source).splitlines())
    return _in_code("\n".join(lines).encode())


# --- what the catalogues say ----------------------------------------------------------------


def catalogue(locale: str) -> Catalog:
    with (folder(locale) / "django.po").open("rb") as file:
        return read_po(file, locale=locale)


def compiled(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def update(locale: str) -> Catalog:
    """Write the catalogue as the code wants it, translations kept, and its compiled form."""
    catalog = catalogue(locale)
    catalog.update(said(), no_fuzzy_matching=True, update_header_comment=False, update_creation_date=False)
    with (folder(locale) / "django.po").open("wb") as file:
        write_po(file, catalog, width=120, include_lineno=False, ignore_obsolete=True)
    (folder(locale) / "django.mo").write_bytes(compiled(catalogue(locale)))
    return catalog


def problems(locale: str) -> list[str]:
    """What a reader of this language would miss; empty where all is well."""
    template, catalog = said(), catalogue(locale)
    found = [f"not in the catalogue: {message.id!r}" for message in _messages(template) if not _has(catalog, message)]
    found += [f"said no more: {message.id!r}" for message in _messages(catalog) if not _has(template, message)]
    found += [complaint for message in _messages(catalog) for complaint in _complaints(message)]
    file = folder(locale) / "django.mo"
    if not file.exists() or file.read_bytes() != compiled(catalog):
        found.append("the compiled catalogue is not made from this one")
    return found


def _messages(catalog: Catalog) -> list[Message]:
    """Without the header, whose id is empty."""
    return [message for message in catalog if message.id]


def _has(catalog: Catalog, message: Message) -> bool:
    found = catalog.get(message.id, context=message.context)
    return found is not None and found.id == message.id


def _complaints(message: Message) -> Iterator[str]:
    originals = message.id if isinstance(message.id, tuple) else (message.id,)
    strings = message.string if isinstance(message.string, tuple) else (message.string,)
    if message.fuzzy:
        yield f"fuzzy: {message.id!r}"
    if not all(strings):
        yield f"not translated: {message.id!r}"
        return
    for index, string in enumerate(strings):
        original = originals[min(index, len(originals) - 1)]
        if placeholders(original) != placeholders(string):
            yield f"other placeholders: {original!r}, {string!r}"
        if edges(original) != edges(string):
            yield f"other spaces at the ends: {original!r}, {string!r}"


def placeholders(text: str) -> list[str]:
    return sorted(set(_PLACEHOLDER.findall(text)))


def edges(text: str) -> tuple[str, str]:
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]


def main() -> int:
    for locale in LOCALES:
        update(locale)
        missing = problems(locale)
        sys.stdout.writelines(f"{locale}: {line}\n" for line in [*missing, f"{len(missing)} to do"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
