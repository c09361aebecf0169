"""The live store from the host's side: the SQLite file that the Go library works on in another process.

Read and written with Python's sqlite3, never in a process that runs Go (POSIX locks belong to a process). One connection a
store, guarded by a lock, and no transaction longer than a few milliseconds: a writer waits for a writer. The file is in WAL
mode, where a reader stops nobody. Whatever is wrong with the file itself is raised as `sqlite3.Error`.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote as quote_url

from sessions_app.vault import creds, journal, keys, rows
from sessions_app.vault.advance import advance
from sessions_app.vault.rows import BadSnapshot

#: How long a write of ours waits for one of the library's.
BUSY_SECONDS = 10.0
#: Of the whole journal: its last entry, whether a device row changed, whether one was deleted, whether everything counts
#: as changed. The library's deletion of an account reaches other tables' rows first, so the limit must not hide it.
_SUMMARY = (
    "SELECT max(seq), coalesce(sum(tbl = :device), 0), coalesce(sum(tbl = :device AND deleted), 0),"
    " coalesce(sum(tbl = :everything), 0) FROM oxy_journal"
)
_SUMMARY_OF = {"device": keys.DEVICE_TABLE, "everything": journal.EVERYTHING}
#: A JID: user, agent, device, server.
_JID = re.compile(r"([^.:@]+)(?:\.(\d+))?(?::(\d+))?@(.+)")
#: Server → the agent that stands in a Signal address behind the user (whatsmeow types/jid.go, `ActualAgent`).
_AGENTS = {"s.whatsapp.net": 0, "lid": 1, "hosted": 128, "hosted.lid": 129}


@dataclass(frozen=True)
class Snapshot:
    """A whole live store as the vault keeps it: `creds` in the clear (creds.py), every other row by its key, and the
    schema under `keys.SCHEMA_KEY`. `creds` is None where no phone was linked yet."""

    creds: creds.Creds | None = field(repr=False)
    values: dict[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Changes:
    """What changed since the journal was cleared last. Falsy where nothing did.

    `upto` goes to `clear_journal()` once the rest is in the vault. `values`: key → value, None for a key that is gone. `creds`:
    the new ones, None where they did not change. `complete`: this is the whole store, and every other key is gone (after a
    change of the schema, and at the first time). `device_deleted`: the library has removed the account (it does so when
    WhatsApp logs it out); then nothing else is said, for a deletion of that kind is never mirrored.
    """

    upto: int = 0
    values: dict[str, bytes | None] = field(default_factory=dict, repr=False)
    device_deleted: bool = False
    creds: creds.Creds | None = field(default=None, repr=False)
    complete: bool = False

    def __bool__(self) -> bool:
        return bool(self.values or self.creds or self.device_deleted)


class LiveStore:
    """The live store at `path`. Opened at first use, from any thread; only `data_version()` never waits for another call."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._data_version = 0
        #: The library's tables, with SQLite's number of the schema that has them.
        self._tables: tuple[int, dict[str, journal.Table]] = (-1, {})

    @classmethod
    def create(cls, path: str | Path) -> LiveStore:
        """An empty store for the library to make its tables in: mode 0600, WAL, its directory 0700."""
        path = Path(path)
        _make_directory(path.parent)
        _remove(path)
        _create_file(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        return cls(path)

    @classmethod
    def rebuild(cls, path: str | Path, snapshot: Snapshot) -> LiveStore:
        """Make the file at `path` from a snapshot, in place of whatever is there; nobody may have it open.

        The schema is the recorded one, of whichever version of the library: the library itself migrates it when it opens the
        file. Written under another name, synced, then renamed. Raises `BadSnapshot`.
        """
        path = Path(path)
        _make_directory(path.parent)
        new = path.with_name(f".{path.name}.new")
        _remove(new)
        _create_file(new)
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            _fill(connection, snapshot)
        _sync(new)
        _remove(path)
        new.rename(path)
        _sync(path.parent)
        return cls(path)

    @property
    def exists(self) -> bool:
        """Is there a file at all?"""
        return self.path.is_file()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def check(self) -> str:
        """What is wrong with the file, as a sentence, or "" where SQLite finds nothing."""
        try:
            with self._reading() as connection:
                found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            return f"The live store cannot be read: {error}."
        return "" if found == "ok" else f"The live store is damaged: {found}."

    # --- the journal ----------------------------------------------------------

    def install_journal(self, **meta: str | int) -> None:
        """Put in the triggers, and what is to be kept in the file (`get_meta`); to be called after the library has made or
        migrated its tables, before it connects."""
        with self._writing() as connection:
            journal.install(connection)
            journal.write_meta(connection, {name: str(value) for name, value in meta.items()})

    def data_version(self) -> int:
        """A number that changes when another process has written. Cheap (microseconds); while another thread works on
        this store it is the number of the last call."""
        if self._lock.acquire(blocking=False):
            try:
                self._data_version = self._open().execute("PRAGMA data_version").fetchone()[0]
            finally:
                self._lock.release()
        return self._data_version

    def read_changes(self, limit: int = 5000) -> Changes:
        """What the first `limit` entries of the journal lead to: each key once, with its value of this moment.

        Before a phone is linked there is nothing worth keeping, and nothing is returned. Needs `install_journal()`.
        """
        with self._reading() as connection:
            upto, device_changed, device_deleted, complete = connection.execute(_SUMMARY, _SUMMARY_OF).fetchone()
            if upto is None:
                return Changes()
            tables = self._read_tables(connection)
            devices = rows.read_devices(connection, tables)
            if not devices:
                return Changes(upto=upto, device_deleted=True) if device_deleted else Changes()
            if complete:
                values = dict[str, bytes | None](rows.read_all(connection, tables))
                return Changes(upto=upto, values=values, creds=creds.from_devices(devices), complete=True)
            entries = connection.execute("SELECT * FROM oxy_journal ORDER BY seq LIMIT ?", (limit,)).fetchall()
            return Changes(
                upto=entries[-1][0],
                values=rows.read_touched(connection, tables, ((entry[1], entry[3:]) for entry in entries)),
                creds=creds.from_devices(devices) if device_changed else None,
            )

    def clear_journal(self, upto: int) -> None:
        """Forget the entries up to and with `upto`: what they led to is in the vault."""
        with self._writing() as connection:
            connection.execute("DELETE FROM oxy_journal WHERE seq <= ?", (upto,))

    # --- the whole ------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Everything, as of one moment."""
        with self._reading() as connection:
            tables = self._read_tables(connection)
            devices = rows.read_devices(connection, tables)
            return Snapshot(creds.from_devices(devices) if devices else None, rows.read_all(connection, tables))

    def forget_signal_sessions(self, own_lid: str = "") -> tuple[int, int]:
        """Delete all Signal sessions and our own sender keys, both in one transaction; returns how many of each.

        For a store that may be older than what was sent last: the library then fetches fresh key bundles and hands out new
        sender keys, and no later message is lost in silence. Never one without the other. The journal notes the deletions.
        `own_lid` (`user:device@lid`) stands in where the device row has none.
        """
        with self._writing() as connection:
            journal.install(connection)
            sessions = connection.execute("DELETE FROM whatsmeow_sessions").rowcount
            return sessions, _forget_own_sender_keys(connection, own_lid)

    def advance_signal_sessions(self, own_lid: str = "") -> tuple[int, int]:
        """Move all Signal sessions on (advance.py) and delete our own sender keys, in one transaction; returns how many could
        not be moved on, and were deleted, and how many sender keys there were.

        For a store that lacks the last moments: what peers sent meanwhile can still be read, which `forget_signal_sessions`
        leaves to their sending it again. The new sender keys travel in the sessions, so those must not be stale.
        """
        with self._writing() as connection:
            journal.install(connection)
            deleted = 0
            for our_jid, their_id, session in connection.execute(
                "SELECT our_jid, their_id, session FROM whatsmeow_sessions"
            ).fetchall():
                moved = advance(session) if isinstance(session, bytes) else None
                # Not as an update: of those the ratchet lets one state move at a time.
                key = (our_jid, their_id)
                connection.execute("DELETE FROM whatsmeow_sessions WHERE our_jid = ? AND their_id = ?", key)
                if moved is None:
                    deleted += 1
                else:
                    connection.execute(
                        "INSERT INTO whatsmeow_sessions (our_jid, their_id, session) VALUES (?, ?, ?)", (*key, moved)
                    )
            return deleted, _forget_own_sender_keys(connection, own_lid)

    def _read_tables(self, connection: sqlite3.Connection) -> dict[str, journal.Table]:
        """The tables as they are in this transaction; read anew only after a change of the schema."""
        version = int(connection.execute("PRAGMA schema_version").fetchone()[0])
        if version != self._tables[0]:
            self._tables = (version, journal.read_tables(connection))
        return self._tables[1]

    # --- what it is --------------------------------------------------------------

    def get_meta(self, name: str) -> str:
        """A text that we keep in the file (`session_id`, `epoch`), or "" where there is none."""
        with self._reading() as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'oxy_meta'").fetchone()
            return journal.read_meta(connection, name) if known else ""

    # --- the connection ------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            # mode=rw: a file that is gone must be an error, never a new and empty store.
            self._connection = sqlite3.connect(
                f"file:{quote_url(str(self.path.absolute()))}?mode=rw",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.text_factory = rows.decode_text
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
        return self._connection

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._open()
            connection.execute(f"BEGIN {kind}")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite has ended the transaction itself after some errors (disk full, I/O).
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._transaction("DEFERRED")

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._transaction("IMMEDIATE")


def _forget_own_sender_keys(connection: sqlite3.Connection, own_lid: str) -> int:
    devices = rows.read_devices(connection, journal.read_tables(connection))
    own = _own_addresses([own_lid, *(device.get(name) for device in devices for name in ("jid", "lid"))])
    marks = ", ".join("?" * len(own))
    return connection.execute(
        f"DELETE FROM whatsmeow_sender_keys WHERE sender_id IN ({marks})",  # noqa: S608
        sorted(own),
    ).rowcount


def _own_addresses(jids: Iterable[object]) -> set[str]:
    """The Signal addresses of our own device: `USER:DEVICE`, or `USER_1:DEVICE` for a LID."""
    parsed = [match.groups() for jid in jids if (match := _JID.fullmatch(str(jid or "")))]
    users = {
        user + (f"_{agent}" if (agent := _AGENTS.get(server, 0)) else "")
        for user, server in ((p[0], p[3]) for p in parsed)
    }
    # A LID may be recorded without the device; it is that of the phone number.
    devices = {device or "0" for _, _, device, _ in parsed}
    return {f"{user}:{device}" for user in users for device in devices}


def _fill(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    """Write a snapshot and our own tables into an empty file, which is in WAL mode in the end."""
    try:
        devices = creds.to_devices(snapshot.creds) if snapshot.creds is not None else []
    except keys.BadValue as error:
        raise BadSnapshot(f"The vault's credentials cannot be used: {error}.") from None
    # The file has no name yet that anyone would open: it is synced once, at the end.
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    # What the library's own file holds passes, even where a later migration has added a check.
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("BEGIN")
    rows.fill(connection, devices, snapshot.values)
    journal.install(connection, known_schema=True)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")


def _make_directory(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def _create_file(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _remove(path: Path) -> None:
    """The file first: a write-ahead log without its file is nothing, a file without its log would be a stale store."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
