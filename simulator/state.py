"""What the simulated WhatsApp remembers: accounts, devices, prekeys, undelivered stanzas and groups, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from simulator.nodes import GROUP_SERVER, LID_SERVER, USER_SERVER, Jid, Node, decode, encode

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS account (
    number TEXT PRIMARY KEY, lid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, signal TEXT NOT NULL,
    online INTEGER NOT NULL DEFAULT 1, next_device INTEGER NOT NULL DEFAULT 1, sync TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS device (
    number TEXT NOT NULL, device INTEGER NOT NULL, noise BLOB NOT NULL, identity BLOB NOT NULL, registration INTEGER NOT NULL,
    skey_id INTEGER NOT NULL, skey BLOB NOT NULL, skey_signature BLOB NOT NULL, label TEXT NOT NULL, added_at REAL NOT NULL,
    PRIMARY KEY (number, device));
CREATE TABLE IF NOT EXISTS prekey (
    number TEXT NOT NULL, device INTEGER NOT NULL, id INTEGER NOT NULL, public BLOB NOT NULL, taken INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (number, device, id));
CREATE TABLE IF NOT EXISTS queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT NOT NULL, device INTEGER NOT NULL,
    class TEXT NOT NULL, id TEXT NOT NULL, sender TEXT NOT NULL, stanza BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS queue_by_device ON queue (number, device, id);
CREATE TABLE IF NOT EXISTS watch (number TEXT NOT NULL, watcher TEXT NOT NULL, PRIMARY KEY (number, watcher));
CREATE TABLE IF NOT EXISTS grp (id TEXT PRIMARY KEY, subject TEXT NOT NULL, creator TEXT NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS member (grp TEXT NOT NULL, number TEXT NOT NULL, admin INTEGER NOT NULL, PRIMARY KEY (grp, number));
CREATE TABLE IF NOT EXISTS chat (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT NOT NULL, id TEXT NOT NULL, direction TEXT NOT NULL, chat TEXT NOT NULL,
    sender TEXT NOT NULL, text TEXT, error TEXT NOT NULL, status TEXT NOT NULL, at REAL NOT NULL,
    kind TEXT NOT NULL DEFAULT 'text', content TEXT NOT NULL DEFAULT '{}');
"""
#: Columns that a file of an earlier release lacks.
ADDED = {"kind": "TEXT NOT NULL DEFAULT 'text'", "content": "TEXT NOT NULL DEFAULT '{}'"}

#: LIDs are numbers unrelated to the phone number; these are unrelated, but the same in every run, which helps a reader of transcripts.
FIRST_LID = 200_000_000_000_001


@dataclass(frozen=True)
class Account:
    """A person on WhatsApp: a phone number, its LID, and the name that others see."""

    number: str
    lid: str
    name: str

    def jid(self, device: int = 0) -> Jid:
        return Jid(self.number, USER_SERVER, device)

    def lid_jid(self, device: int = 0) -> Jid:
        return Jid(self.lid, LID_SERVER, device)

    def address(self, like: Jid, device: int = 0) -> Jid:
        """This account's device, addressed by LID or by number as `like` is."""
        return self.lid_jid(device) if like.server == LID_SERVER else self.jid(device)


@dataclass(frozen=True)
class Device:
    """A device of an account and the public keys that it registered; device 0 is the phone, whose Noise key is empty."""

    number: str
    device: int
    noise: bytes
    identity: bytes
    registration: int
    skey_id: int
    skey: bytes
    skey_signature: bytes
    label: str = ""
    added_at: float = field(default_factory=time.time)

    @property
    def jid(self) -> Jid:
        return Jid(self.number, USER_SERVER, self.device)


@dataclass(frozen=True)
class Group:
    """A group; `members` maps the numbers of its members to whether they are admins."""

    id: str
    subject: str
    creator: str
    created_at: int
    members: dict[str, bool]

    @property
    def jid(self) -> Jid:
        return Jid(self.id, GROUP_SERVER)


@dataclass(frozen=True)
class ChatLine:
    """A message that a phone sent (direction "out"), received ("in"), or saw a companion send ("own").

    `text` is None, and `error` says why, where the phone could not decrypt it. `status` of one sent: sent, delivered, read.
    `kind` and `content` are those of contents.py.
    """

    id: str
    direction: str
    chat: str
    sender: str
    text: str | None
    error: str = ""
    status: str = ""
    at: float = field(default_factory=time.time)
    kind: str = "text"
    content: dict[str, Any] = field(default_factory=dict)


class State:
    """The file. Not thread-safe: it belongs to the thread that runs the simulator.

    A write is durable when the call returns as far as this process may die; a machine that loses its power may lose the last ones.
    """

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)
        present = {row[1] for row in self._db.execute("PRAGMA table_info(chat)")}
        for name, declaration in ADDED.items():
            if name not in present:
                self._db.execute(f"ALTER TABLE chat ADD COLUMN {name} {declaration}")

    def close(self) -> None:
        self._db.close()

    def _run(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._db.execute(sql, values)

    # -- odds and ends ---------------------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes | None:
        row = self._run("SELECT value FROM meta WHERE key = ?", key).fetchone()
        return bytes(row[0]) if row else None

    def put(self, key: str, value: bytes) -> None:
        self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    # -- accounts --------------------------------------------------------------------------------------------------------

    def add_account(self, number: str, name: str, signal: str) -> Account:
        count = self._run("SELECT count(*) FROM account").fetchone()[0]
        lid = str(FIRST_LID + 7919 * count)
        self._run("INSERT INTO account (number, lid, name, signal) VALUES (?, ?, ?, ?)", number, lid, name, signal)
        return Account(number, lid, name)

    def accounts(self) -> list[Account]:
        return [Account(*row) for row in self._run("SELECT number, lid, name FROM account ORDER BY rowid")]

    def account(self, number: str) -> Account | None:
        row = self._run("SELECT number, lid, name FROM account WHERE number = ?", number).fetchone()
        return row and Account(*row)

    def account_of(self, jid: Jid | None) -> Account | None:
        """The account that a number's or a LID's address belongs to."""
        if jid is None or not jid.is_user:
            return None
        if jid.server != LID_SERVER:
            return self.account(jid.user)
        row = self._run("SELECT number, lid, name FROM account WHERE lid = ?", jid.user).fetchone()
        return row and Account(*row)

    def rename(self, number: str, name: str) -> None:
        self._run("UPDATE account SET name = ? WHERE number = ?", name, number)

    def signal_of(self, number: str) -> str:
        """The phone's Signal state, as JSON."""
        return str(self._run("SELECT signal FROM account WHERE number = ?", number).fetchone()[0])

    def save_signal(self, number: str, signal: str) -> None:
        self._run("UPDATE account SET signal = ? WHERE number = ?", signal, number)

    def sync_of(self, number: str) -> str:
        """The phone's app state, as JSON; empty before there is one."""
        return str(self._run("SELECT sync FROM account WHERE number = ?", number).fetchone()[0])

    def save_sync(self, number: str, sync: str) -> None:
        self._run("UPDATE account SET sync = ? WHERE number = ?", sync, number)

    def is_online(self, number: str) -> bool:
        return bool(self._run("SELECT online FROM account WHERE number = ?", number).fetchone()[0])

    def set_online(self, number: str, online: bool) -> None:
        self._run("UPDATE account SET online = ? WHERE number = ?", online, number)

    # -- devices ---------------------------------------------------------------------------------------------------------

    def reserve_device(self, number: str) -> int:
        """A device number that this account never had before."""
        row = self._run(
            "UPDATE account SET next_device = next_device + 1 WHERE number = ? RETURNING next_device - 1", number
        ).fetchone()
        return int(row[0])

    def add_device(self, device: Device) -> None:
        values = (device.number, device.device, device.noise, device.identity, device.registration)
        keys = (device.skey_id, device.skey, device.skey_signature, device.label, device.added_at)
        self._run("INSERT OR REPLACE INTO device VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *values, *keys)

    def device(self, number: str, device: int) -> Device | None:
        row = self._run("SELECT * FROM device WHERE number = ? AND device = ?", number, device).fetchone()
        return row and Device(*row)

    def devices(self, number: str) -> list[Device]:
        """All devices of an account, the phone first."""
        return [Device(*row) for row in self._run("SELECT * FROM device WHERE number = ? ORDER BY device", number)]

    def remove_device(self, number: str, device: int) -> bool:
        """Forget a device, its prekeys and what waits for it; False where there is none."""
        self._run("DELETE FROM prekey WHERE number = ? AND device = ?", number, device)
        self._run("DELETE FROM queue WHERE number = ? AND device = ?", number, device)
        return self._run("DELETE FROM device WHERE number = ? AND device = ?", number, device).rowcount > 0

    def set_signed_prekey(self, number: str, device: int, key_id: int, public: bytes, signature: bytes) -> None:
        sql = "UPDATE device SET skey_id = ?, skey = ?, skey_signature = ? WHERE number = ? AND device = ?"
        self._run(sql, key_id, public, signature, number, device)

    # -- one-time prekeys ------------------------------------------------------------------------------------------------

    def add_prekeys(self, number: str, device: int, prekeys: Iterable[tuple[int, bytes]]) -> None:
        """Keep what is new. A prekey that was handed out once stays taken, whatever is uploaded under its id again."""
        rows = [(number, device, key_id, public) for key_id, public in prekeys]
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR IGNORE INTO prekey (number, device, id, public) VALUES (?, ?, ?, ?)", rows)
        self._db.execute("COMMIT")

    def count_prekeys(self, number: str, device: int) -> int:
        sql = "SELECT count(*) FROM prekey WHERE number = ? AND device = ? AND NOT taken"
        return int(self._run(sql, number, device).fetchone()[0])

    def take_prekey(self, number: str, device: int) -> tuple[int, bytes] | None:
        """A one-time prekey (id, public) that is given to nobody else; None where they have run out."""
        sql = """UPDATE prekey SET taken = 1 WHERE rowid =
            (SELECT rowid FROM prekey WHERE number = ? AND device = ? AND NOT taken ORDER BY id LIMIT 1) RETURNING id, public"""
        row = self._run(sql, number, device).fetchone()
        return row and (int(row[0]), row[1])

    # -- stanzas on their way --------------------------------------------------------------------------------------------

    def enqueue(self, number: str, device: int, stanza: Node) -> None:
        """Keep a stanza for a device until it acknowledges it."""
        sql = "INSERT INTO queue (number, device, class, id, sender, stanza) VALUES (?, ?, ?, ?, ?, ?)"
        self._run(sql, number, device, stanza.tag, stanza.get("id"), stanza.get("from"), encode(stanza))

    def waiting(self, number: str, device: int) -> list[Node]:
        """What the device has not acknowledged, in order."""
        rows = self._run("SELECT stanza FROM queue WHERE number = ? AND device = ? ORDER BY seq", number, device)
        return [decode(row[0]) for row in rows]

    def acknowledge(self, number: str, device: int, class_: str, stanza_id: str, sender: str) -> bool:
        """Drop the first waiting stanza of that class, id and sender; False where there is none."""
        sql = """DELETE FROM queue WHERE seq = (SELECT seq FROM queue
            WHERE number = ? AND device = ? AND id = ? AND class = ? AND sender = ? ORDER BY seq LIMIT 1)"""
        return self._run(sql, number, device, stanza_id, class_, sender).rowcount > 0

    # -- who has seen whose device list ----------------------------------------------------------------------------------

    def add_watch(self, number: str, watcher: str) -> None:
        self._run("INSERT OR IGNORE INTO watch VALUES (?, ?)", number, watcher)

    def watchers(self, number: str) -> list[str]:
        return [row[0] for row in self._run("SELECT watcher FROM watch WHERE number = ?", number)]

    # -- groups ----------------------------------------------------------------------------------------------------------

    def add_group(self, group: Group) -> None:
        self._run("INSERT INTO grp VALUES (?, ?, ?, ?)", group.id, group.subject, group.creator, group.created_at)
        for number, admin in group.members.items():
            self.set_member(group.id, number, admin)

    def group(self, group_id: str) -> Group | None:
        row = self._run("SELECT * FROM grp WHERE id = ?", group_id).fetchone()
        if row is None:
            return None
        members = self._run("SELECT number, admin FROM member WHERE grp = ? ORDER BY rowid", group_id)
        id_, subject, creator, created_at = row
        return Group(id_, subject, creator, created_at, {number: bool(admin) for number, admin in members})

    def groups_of(self, number: str) -> list[Group]:
        rows = self._run("SELECT grp FROM member WHERE number = ? ORDER BY rowid", number).fetchall()
        return [group for row in rows if (group := self.group(row[0]))]

    def set_member(self, group_id: str, number: str, admin: bool) -> None:
        self._run("INSERT OR REPLACE INTO member VALUES (?, ?, ?)", group_id, number, admin)

    def remove_member(self, group_id: str, number: str) -> None:
        self._run("DELETE FROM member WHERE grp = ? AND number = ?", group_id, number)

    def set_subject(self, group_id: str, subject: str) -> None:
        self._run("UPDATE grp SET subject = ? WHERE id = ?", subject, group_id)

    # -- what a phone shows ----------------------------------------------------------------------------------------------

    def add_line(self, number: str, line: ChatLine) -> None:
        values = asdict(line) | {"number": number, "content": json.dumps(line.content)}
        names = ", ".join(values)
        self._run(f"INSERT INTO chat ({names}) VALUES ({', '.join('?' * len(values))})", *values.values())  # noqa: S608

    def drop_failed_line(self, number: str, message_id: str) -> None:
        """Forget that a message could not be read: its sender sent it once more."""
        self._run(
            "DELETE FROM chat WHERE number = ? AND id = ? AND direction = 'in' AND text IS NULL", number, message_id
        )

    def set_line_status(self, number: str, message_id: str, status: str) -> None:
        """Move a sent message on; a delivery receipt that comes after the read receipt changes nothing."""
        sql = "UPDATE chat SET status = ? WHERE number = ? AND id = ? AND direction = 'out' AND status != 'read'"
        self._run(sql, status, number, message_id)

    def lines(self, number: str) -> list[ChatLine]:
        names = [each.name for each in fields(ChatLine)]
        sql = f"SELECT {', '.join(names)} FROM chat WHERE number = ? ORDER BY seq"  # noqa: S608
        rows = [dict(zip(names, row, strict=True)) for row in self._run(sql, number)]
        return [ChatLine(**(row | {"content": json.loads(row["content"])})) for row in rows]
