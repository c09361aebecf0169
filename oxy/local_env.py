"""Keys for one machine: `python -m oxy.local_env` writes `var/local.env` once, so that a fresh clone runs with real secrets.

Settings read that file when it exists; the environment always wins. It needs nothing but the standard library, because it
runs before anything else can.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

PATH = Path(__file__).resolve().parent.parent / "var" / "local.env"


def ensure(path: Path = PATH) -> bool:
    """Write the file, readable by its owner alone, unless it is there. Returns whether it was written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    encryption_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    with os.fdopen(descriptor, "w") as file:
        file.write(
            "# Made on the first run. Without OXY_ENCRYPTION_KEYS the stored sessions cannot be read: keep a copy.\n"
            f"SECRET_KEY={secrets.token_urlsafe(50)}\n"
            f"OXY_ENCRYPTION_KEYS={encryption_key}\n"
        )
    return True


if __name__ == "__main__":
    ensure()
