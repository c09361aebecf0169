"""Brings neonize into this process, and defends against what its import does.

- It wants the system's libmagic, for files that we never send: a stand-in takes its place.
- Its shared library needs glibc 2.34 whatever its wheel's tag says: said in a sentence instead of a linker's.
- Where the shared library is missing it downloads one: a broken installation must not heal itself with unknown code.
- It calls `logging.basicConfig`, which does nothing as long as our handler is there first, and starts a thread for the Go
  library's log, which we end: `library.py` takes that log itself.
- The root of WhatsApp's certificates is compiled in. For a simulator it is overwritten in memory, and only on request.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: The root public key that WhatsApp's Noise certificate chains are checked against (whatsmeow, `handshake.go`).
WHATSAPP_ROOT = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
MINIMUM_GLIBC = (2, 34)


class LoadError(Exception):
    """The library cannot be used on this machine; the text is a sentence for the person who set it up."""


def load(environment: Mapping[str, str]) -> Any:
    """Import neonize and return its binding module; must run before anything else imports it."""
    _check_glibc()
    _check_shared_library()
    sys.modules.setdefault("magic", _MagicStandIn("magic"))
    try:
        binding = importlib.import_module("neonize._binder")
    except (ImportError, OSError, RuntimeError) as error:
        raise LoadError(f"The WhatsApp library (package neonize) cannot be loaded: {error}.") from error
    importlib.import_module("neonize.utils.log")._log_queue.put(None)
    trust_simulator(environment, binding.gocode._name)
    return binding


class _MagicStandIn(types.ModuleType):
    """Says that it is not there when it is used, not when it is imported."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"libmagic is not part of an engine ({name})")


def _check_glibc() -> None:
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, OSError):
        raise LoadError(
            "The WhatsApp library needs a Linux system with glibc 2.34 or newer; this one has no glibc."
        ) from None
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < MINIMUM_GLIBC:
        raise LoadError(
            f"The WhatsApp library needs glibc 2.34 or newer (Debian 12, Ubuntu 22.04); this machine has {name} {version}."
        )


def _check_shared_library() -> None:
    spec = importlib.util.find_spec("neonize")
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise LoadError("The package neonize is not installed.")
    if not any(Path(places[0]).glob("neonize-*.so")):
        raise LoadError("The package neonize has no shared library for this machine; install it again from its wheel.")


def trust_simulator(environment: Mapping[str, str], library: str) -> bool:
    """Replace the root key in the loaded `library` by a simulator's, if the environment asks for it.

    Both variables are needed, so that a root key left behind in an environment does nothing by itself.
    """
    if environment.get("OXY_SIMULATOR") != "1" or not environment.get("OXY_SIMULATOR_ROOT"):
        return False
    try:
        root = bytes.fromhex(environment["OXY_SIMULATOR_ROOT"])
    except ValueError:
        root = b""
    if len(root) != len(WHATSAPP_ROOT):
        raise LoadError("OXY_SIMULATOR_ROOT must be 32 bytes in hex, as the simulator prints it.")
    places = find_in_memory(library, WHATSAPP_ROOT)
    if len(places) != 1:
        raise LoadError(
            f"The library's certificate root was found {len(places)} times instead of once: this version of neonize "
            "cannot talk to the simulator."
        )
    ctypes.memmove(places[0], root, len(root))
    return True


def claimed_version(library: str) -> str:
    """The WhatsApp Web version that the library claims ("2.3000.N"), or "" where it cannot be told.

    The binding has no call for it. It lies in the library's data as three 32-bit numbers (whatsmeow, `store/clientpayload.go`).
    """
    start = (2).to_bytes(4, "little") + (3000).to_bytes(4, "little")
    numbers = [int.from_bytes(ctypes.string_at(place + 8, 4), "little") for place in find_in_memory(library, start)]
    plausible = {number for number in numbers if number > 1_000_000_000}
    return f"2.3000.{plausible.pop()}" if len(plausible) == 1 else ""


def find_in_memory(library: str, wanted: bytes) -> list[int]:
    """The addresses at which `wanted` stands in the writable memory of a loaded shared library."""
    return [
        start + match.start()
        for start, end in _writable_mappings(library)
        for match in re.finditer(re.escape(wanted), ctypes.string_at(start, end - start))
    ]


def _writable_mappings(library: str) -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, rights, *_, path = line.split(maxsplit=5)
        if rights.startswith("rw") and path == os.path.realpath(library):
            start, end = (int(address, 16) for address in addresses.split("-"))
            yield start, end
