"""The documents as a site: every link leads somewhere, every page is in the navigation, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

CONFIG = Path("site") / "mkdocs.yml"


def build(docs: Path, site: Path) -> subprocess.CompletedProcess[str]:
    # Not --quiet: that hides warnings from --strict, too.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    command += ["--config-file", str(docs / CONFIG), "--site-dir", str(site)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents") / "site"
    done = build(ROOT / "docs", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    documents = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path for path in documents if not (site / path).is_file()} == set()


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"(?:https?:)?//|url\(['\"]?(?:https?:)?//|@import"
    )
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > 10
    assert [path.name for path in files if loads.search(path.read_text())] == []


@pytest.mark.parametrize("link", ["gone.md", "deploy.md#gone"])
def test_a_broken_link_is_noticed(link: str, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    with (docs / "start.md").open("a") as page:
        page.write(f"\n[broken]({link})\n")

    done = build(docs, tmp_path / "site")

    assert done.returncode != 0
    assert link.partition("#")[0] in done.stderr
