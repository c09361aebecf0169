"""The image's steps without Docker: what the Dockerfile copies, runs and starts, in a clean folder, as an ordinary user.

Packages are those of this run's own environment; `python -m tests.image` installs them too, as the image does.
"""

from __future__ import annotations

import fnmatch
import json
import os
import pwd
import re
import shutil
import site
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.processes import ROOT

#: What a process in a container has; nothing of whoever runs the tests.
KEPT = ("LANG", "LC_ALL", "TZ")


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its arguments, comments and continued lines resolved."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    lines = [line.strip() for line in re.sub(r"\\\n", " ", text).splitlines()]
    return [(name, arguments) for name, _, arguments in (line.partition(" ") for line in lines if line)]


class Image:
    """A folder that stands for the image's `/app`. Use as a context manager: it goes with it."""

    def __init__(self) -> None:
        self.steps = instructions()
        self.last = dict(self.steps)
        #: Whom to become: files are root's, as in the image, and the process is not.
        self.user = pwd.getpwnam("nobody") if os.getuid() == 0 else None

    def __enter__(self) -> Image:
        self.folder = Path(tempfile.mkdtemp(prefix="oxy-image-"))
        self.folder.chmod(0o755)
        self.app, self.bin = self.folder / "app", self.folder / "bin"
        self.app.mkdir(), self.bin.mkdir()
        self._shim()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def build(self) -> None:
        """The last stage, step by step."""
        start = max(number for number, (name, _) in enumerate(self.steps) if name == "FROM")
        for name, arguments in self.steps[start:]:
            if name == "COPY" and not arguments.startswith("--from"):
                assert arguments == ". ./"
                self._copy()
            elif name == "RUN" and arguments.startswith("useradd"):
                self._make_folders(arguments)
            elif name == "RUN":
                subprocess.run(["sh", "-ec", arguments], cwd=self.app, env=self.environment(), check=True, timeout=120)

    def environment(self, **over: str) -> dict[str, str]:
        given = {name: os.environ[name] for name in KEPT if name in os.environ}
        packages = os.pathsep.join(site.getsitepackages())
        mine = {"PATH": f"{self.bin}:/usr/bin:/bin", "PYTHONPATH": packages, "PYTHONUNBUFFERED": "1"}
        return {**given, **mine, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(self.app), **over}

    def start(self, command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start it as the container's user."""
        who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        with log.open("ab") as output:
            return subprocess.Popen(
                [str(self.bin / command[0]) if command[0] == "python" else command[0], *command[1:]],
                cwd=self.app,
                env=self.environment(**environment),
                stdout=output,
                stderr=output,
                **who,  # type: ignore[arg-type]
            )

    @property
    def command(self) -> list[str]:
        return list(json.loads(self.last["CMD"]))

    @property
    def health_check(self) -> list[str]:
        return list(json.loads(self.last["HEALTHCHECK"].partition(" CMD ")[2]))

    def _copy(self) -> None:
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        unwanted = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
        for name in (line[1:] for line in lines if line.startswith("!")):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.app / name, ignore=shutil.ignore_patterns(*unwanted))
            elif (ROOT / name).exists():
                assert not any(fnmatch.fnmatch(name, pattern) for pattern in unwanted)
                shutil.copy2(ROOT / name, self.app / name)

    def _make_folders(self, arguments: str) -> None:
        for path in arguments.partition(" -m 700 ")[2].split():
            folder = self.app / path.removeprefix("/app/")
            folder.mkdir(mode=0o700)
            if self.user:
                os.chown(folder, self.user.pw_uid, self.user.pw_gid)

    def _shim(self) -> None:
        """`python` for everybody: the one of a virtual environment may lie where only its owner can look."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        everybodys = shutil.which(version, path="/usr/local/bin:/usr/bin") if self.user else None
        if not (everybodys and all(is_open(Path(folder)) for folder in site.getsitepackages())):
            self.user = everybodys = None
        python = self.bin / "python"
        python.write_text(f'#!/bin/sh\nexec {everybodys or sys.executable} "$@"\n')
        python.chmod(0o755)


def is_open(folder: Path) -> bool:
    """Whether everybody may look into it."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


def main() -> None:
    """Install the packages as the image's first stage does, in a clean folder, and say what they take."""
    with Image() as image:
        venv = image.folder / "venv"
        shutil.copy2(ROOT / "requirements.txt", image.app)
        (install,) = [arguments for name, arguments in image.steps if name == "RUN" and "pip install" in arguments]
        command = install.replace("/opt/venv", str(venv)).replace("python -m venv", f"{sys.executable} -m venv")
        subprocess.run(["sh", "-ec", command], cwd=image.app, check=True)
        subprocess.run([venv / "bin" / "pip", "check"], check=True)
        size = sum(path.stat().st_size for path in venv.rglob("*") if path.is_file())
        sys.stdout.write(f"packages: {size / 2**20:.0f} MiB\n")


if __name__ == "__main__":
    main()
