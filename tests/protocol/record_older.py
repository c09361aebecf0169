"""Makes `data/neonize-VERSION.tar.xz`: the store of a real older library, and the simulator that knows its device.

    python -m tests.protocol.record_older 0.3.14.post0

The version comes from the package registry. Its client is linked to the phone of Ana, reads one message of Bia's and writes one, and is
killed; what the library then has in its file, and what the simulator remembers, is the recording.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from simulator import Simulator
from tests.simulator.clients import NeonizeClient

FOLDER = Path(__file__).with_name("data")
ANA, BIA = "5511987650001", "5511987650002"
STORE, STATE = "store.db", "simulator.sqlite3"


def install(version: str, folder: Path) -> None:
    """The library alone: what it needs is here, and newer."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, f"neonize=={version}"], check=True)


def record(library: Path, work: Path) -> None:
    with Simulator(state_dir=work / "simulator") as sim:
        ana, bia = sim.phone(ANA, name="Ana"), sim.phone(BIA, name="Bia")
        environment = {**sim.environment, "PYTHONPATH": str(library)}
        with NeonizeClient(work / STORE, environment) as client:
            ana.scan(client.expect("qr")["code"])
            client.expect("paired")
            client.expect("connected")
            bia.send_text(ANA, "to the old release")
            client.expect("message", text="to the old release")
            client.run("send", to=BIA, text="from the old release")
            bia.wait_for_text("from the old release", timeout=20)


def main(version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        install(version, work / "library")
        record(work / "library", work)
        FOLDER.mkdir(exist_ok=True)
        with tarfile.open(FOLDER / f"neonize-{version}.tar.xz", "w:xz") as archive:
            for path in sorted([*work.glob(f"{STORE}*"), *(work / "simulator").glob(f"{STATE}*")]):
                archive.add(path, path.name)


if __name__ == "__main__":
    main(sys.argv[1])
