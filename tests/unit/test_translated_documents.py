"""Documents in Portuguese follow the English ones: the same sections, tables, commands and names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.processes import ROOT

TRANSLATED = sorted((ROOT / "docs" / "pt-BR").glob("*.md"))


def outline(path: Path) -> dict[str, object]:
    """What must not differ between languages."""
    text = path.read_text()
    return {
        "sections": re.findall(r"^#+", text, re.M),
        "rows of tables": len(re.findall(r"^\|", text, re.M)),
        "settings": sorted(set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", text))),
        "metrics": sorted(set(re.findall(r"\boxy_[a-z_]+\b", text))),
        "commands": sorted(set(re.findall(r"manage\.py (\w+)|docker compose (\w+)", text))),
    }


def test_there_are_documents_in_portuguese() -> None:
    assert {path.name for path in TRANSLATED} >= {"start.md", "deploy.md", "operate.md"}


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: path.name)
def test_a_translated_document_says_all_that_the_english_one_says(path: Path) -> None:
    assert outline(path) == outline(ROOT / "docs" / path.name)
