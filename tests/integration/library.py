"""Live stores as the real library makes them, and rows for every table of its schema."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import subprocess
import sys
from pathlib import Path

from sessions_app.vault.keys import Row

OWN_JID, OWN_LID = "4915112345678:7@s.whatsapp.net", "98765432101234:7@lid"

# The library wants libmagic at import and uses it for media alone; a machine without it runs these tests, too.
_PREPARE = """
import os, sys, types
sys.modules["magic"] = types.ModuleType("magic")
from neonize.client import ClientFactory
print(len(ClientFactory.get_all_devices_from_db(sys.argv[1])), flush=True)
os._exit(0)
"""


def prepare(path: Path) -> int:
    """Have the real library make or migrate its tables in the file, in a process of its own; returns how many devices it read."""
    done = subprocess.run([sys.executable, "-c", _PREPARE, str(path)], check=True, capture_output=True, timeout=60)
    return int(done.stdout)


def secret(name: str, length: int = 32) -> bytes:
    """Bytes that look random and are the same in every run."""
    return hashlib.shake_256(name.encode()).digest(length)


def device(jid: str = OWN_JID, lid: str | None = OWN_LID) -> Row:
    """A row of whatsmeow_device with lengths as the library checks them."""
    return {
        "jid": jid,
        "lid": lid,
        "registration_id": 4_294_967_295,
        "noise_key": secret("noise"),
        "identity_key": secret("identity"),
        "signed_pre_key": secret("signed"),
        "signed_pre_key_id": 1,
        "signed_pre_key_sig": secret("signature", 64),
        "adv_key": secret("adv"),
        "adv_details": secret("details", 21),
        "adv_account_sig": secret("account", 64),
        "adv_account_sig_key": secret("account key"),
        "adv_device_sig": secret("device", 64),
        "platform": "android",
        "business_name": "",
        "push_name": "Ana ünïcødé 🦊",
        "lid_migration_ts": 1_763_000_000,
    }


def rows(own: str = OWN_JID) -> dict[str, list[Row]]:
    """Rows for every table but the device's and the version's, strange ones among them."""
    group, peer, lid = "4915100000000-1500000000@g.us", "4915100000001", "11112222333344"
    return {
        "whatsmeow_identity_keys": [{"our_jid": own, "their_id": f"{lid}_1:0", "identity": secret("peer")}],
        "whatsmeow_pre_keys": [
            {"jid": own, "key_id": number, "key": secret(f"pre{number}"), "uploaded": number % 2}
            for number in range(1, 31)
        ],
        "whatsmeow_sessions": [
            {"our_jid": own, "their_id": f"{lid}_1:0", "session": secret("session", 900)},
            {"our_jid": own, "their_id": f"{lid}_1:3", "session": b""},
            {"our_jid": own, "their_id": "null:0", "session": None},
        ],
        "whatsmeow_sender_keys": [
            {"our_jid": own, "chat_id": group, "sender_id": "98765432101234_1:7", "sender_key": secret("ours", 400)},
            {"our_jid": own, "chat_id": group, "sender_id": "4915112345678:7", "sender_key": secret("ours pn", 400)},
            {"our_jid": own, "chat_id": group, "sender_id": f"{lid}_1:0", "sender_key": secret("theirs", 400)},
            {"our_jid": own, "chat_id": "a,b", "sender_id": "c", "sender_key": b"1"},
            {"our_jid": own, "chat_id": "a", "sender_id": "b,c", "sender_key": b"2"},
        ],
        "whatsmeow_app_state_sync_keys": [
            {
                "jid": own,
                "key_id": b"\0\0\x01\xff",
                "key_data": secret("sync"),
                "timestamp": -1,
                "fingerprint": b"\n\x02",
            },
            {"jid": own, "key_id": b"", "key_data": b"", "timestamp": 2**62, "fingerprint": b""},
        ],
        "whatsmeow_app_state_version": [
            {"jid": own, "name": "critical_block", "version": 3, "hash": secret("hash", 128)}
        ],
        "whatsmeow_app_state_mutation_macs": [
            {
                "jid": own,
                "name": "critical_block",
                "version": n,
                "index_mac": secret(f"i{n}"),
                "value_mac": secret(f"v{n}"),
            }
            for n in (1, 2)
        ],
        "whatsmeow_contacts": [
            {"our_jid": own, "their_jid": f"{peer}@s.whatsapp.net", "push_name": "100 % #1, ☃", "full_name": None},
            {"our_jid": own, "their_jid": "x" * 400 + "@lid", "first_name": ""},
        ],
        "whatsmeow_chat_settings": [{"our_jid": own, "chat_jid": group, "muted_until": 5, "pinned": 1, "archived": 0}],
        "whatsmeow_message_secrets": [
            {
                "our_jid": own,
                "chat_jid": group,
                "sender_jid": f"{lid}@lid",
                "message_id": "3EB0AA",
                "key": secret("message"),
            }
        ],
        "whatsmeow_privacy_tokens": [
            {"our_jid": own, "their_jid": f"{lid}@lid", "token": b"\x04", "timestamp": 9, "sender_timestamp": None}
        ],
        "whatsmeow_nct_salt": [{"our_jid": own, "salt": secret("salt")}],
        "whatsmeow_lid_map": [{"lid": lid, "pn": peer}],
        "whatsmeow_event_buffer": [
            {
                "our_jid": own,
                "ciphertext_hash": secret("event"),
                "plaintext": None,
                "server_timestamp": 1,
                "insert_timestamp": 2,
            }
        ],
        "whatsmeow_retry_buffer": [
            {
                "our_jid": own,
                "chat_jid": group,
                "message_id": "3EB0BB",
                "format": "",
                "plaintext": b"hello",
                "timestamp": 3,
            }
        ],
    }


def insert(path: Path, content: dict[str, list[Row]]) -> None:
    """Write rows as another process's connection does; columns that the schema lacks are left out."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys = ON")
    with connection:
        for table, found in content.items():
            known = [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
            for row in found if known else ():
                names = [name for name in row if name in known]
                marks = ", ".join("?" * len(names))
                connection.execute(
                    f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", [row[name] for name in names]
                )
    connection.close()


def execute(path: Path, *statements: str) -> None:
    """Run statements in one transaction, with foreign keys on as the library has them."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys = ON")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def dump(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every table of the library with every row, values with their storage class and exact bytes."""
    connection = sqlite3.connect(path)
    connection.text_factory = lambda data: ("text", data)
    names = [
        name[1].decode()
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name[1].startswith((b"sqlite_", b"oxy_"))
    ]
    content = {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}
    connection.close()
    return content


def schema(path: Path) -> list[tuple[str, str]]:
    """The library's own objects with their statements."""
    connection = sqlite3.connect(path)
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'oxy%'"
    ).fetchall()
    connection.close()
    return sorted(found)


def buffer(data: bytes) -> dict[str, str]:
    """Bytes as Baileys writes them."""
    return {"type": "Buffer", "data": base64.b64encode(data).decode()}


def damaged(sealed: bytes) -> bytes:
    """A sealed value with one bit turned over: a byte that is only replaced is now and then the same as before."""
    return sealed[:-1] + bytes([sealed[-1] ^ 1])
