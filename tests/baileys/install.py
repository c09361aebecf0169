"""The npm package baileys, of the version in package-lock.json, in a folder under var/: `python -m tests.baileys.install`."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from tests import node

HERE = Path(__file__).resolve().parent
VAR = HERE.parent.parent / "var"
ADAPTER = HERE.parent.parent / "docs" / "examples" / "baileys-oxy-auth.mjs"
DESCRIPTION = ("package.json", "package-lock.json", ".npmrc")


def ensure() -> Path:
    """The folder of this lock's packages; they are brought once, about 30 MB."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in DESCRIPTION)).hexdigest()
    folder = VAR / f"baileys-{digest[:12]}"
    if not folder.exists():
        VAR.mkdir(exist_ok=True)
        # Made beside its place and renamed at the end: an interrupted run leaves no half of it.
        with tempfile.TemporaryDirectory(dir=VAR, prefix="baileys-") as work:
            made = Path(work, "made")
            made.mkdir()
            for name in DESCRIPTION:
                shutil.copy(HERE / name, made)
            node.run([*node.ensure().npm, "ci"], "Baileys", cwd=made)
            made.rename(folder)
    return folder


if __name__ == "__main__":
    ensure()
