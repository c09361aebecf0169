"""The journal of a live store: triggers that note the key of every changed row, in the transaction of the change itself.

The statements here run on the host's connection to the file. The library writes its tables as ever; each trigger adds one row
to `oxy_journal` with the table and the values that the row's name is made of (keys.py). What the row holds is read
later, so that a thousand changes of one key cost one value.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass

from sessions_app.vault import keys, ratchet

_SLOTS = tuple(f"k{number}" for number in range(1, keys.MAX_KEY_COLUMNS + 1))
_OURS = f"""
CREATE TABLE IF NOT EXISTS oxy_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS oxy_journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, tbl TEXT NOT NULL, deleted INTEGER NOT NULL, {", ".join(_SLOTS)}
);
{ratchet.PAST_CHAINS}
"""
#: Stands in the journal for the whole store, in place of a table.
EVERYTHING = ""
#: The library's own objects: neither SQLite's nor ours.
_THEIRS = "name NOT LIKE 'sqlite!_%' ESCAPE '!' AND name NOT LIKE 'oxy!_%' ESCAPE '!'"


@dataclass(frozen=True)
class Table:
    """A table of the library as it is now. `owner` is the part of the primary key that names leave out (our own JID)."""

    name: str
    columns: tuple[str, ...]
    form: keys.Form
    owner: str

    @property
    def quoted(self) -> str:
        return quote(self.name)

    @property
    def column_list(self) -> str:
        return ", ".join(map(quote, self.columns))


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def read_tables(connection: sqlite3.Connection) -> dict[str, Table]:
    """The library's tables by name, without its version table, which belongs to the schema."""
    names = connection.execute(f"SELECT name FROM sqlite_master WHERE type = 'table' AND {_THEIRS}")  # noqa: S608
    return {name: _read_table(connection, name) for (name,) in names.fetchall() if name != keys.VERSION_TABLE}


def read_schema(connection: sqlite3.Connection) -> keys.Schema:
    """The statements that made the library's tables, then its indexes and whatever else, and its version rows."""
    statements = connection.execute(
        f"SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND {_THEIRS} ORDER BY type <> 'table', rowid"  # noqa: S608
    ).fetchall()
    version: tuple[keys.Row, ...] = ()
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (keys.VERSION_TABLE,)).fetchone():
        rows = connection.execute(f"SELECT * FROM {quote(keys.VERSION_TABLE)}")  # noqa: S608
        names = [column[0] for column in rows.description]
        version = tuple(dict(zip(names, row, strict=True)) for row in rows)
    return keys.Schema(tuple(sql for (sql,) in statements), version)


def install(connection: sqlite3.Connection, *, known_schema: bool = False) -> None:
    """Make our tables and triggers what they should be; changes nothing where they are. Runs in the caller's transaction.

    A schema that is not the one of the last time has EVERYTHING noted down, since a migration may have rewritten any row;
    `known_schema` says that the present one is already in the vault.
    """
    for statement in _OURS.split(";"):
        connection.execute(statement)
    tables = read_tables(connection)
    _install_triggers(connection, tables)
    digest = hashlib.sha256(read_schema(connection).encode()).hexdigest()
    if read_meta(connection, "schema") != digest:
        if not known_schema:
            connection.execute("INSERT INTO oxy_journal (tbl, deleted) VALUES (?, 0)", (EVERYTHING,))
        write_meta(connection, {"schema": digest})


def read_meta(connection: sqlite3.Connection, name: str) -> str:
    row = connection.execute("SELECT value FROM oxy_meta WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def write_meta(connection: sqlite3.Connection, values: dict[str, str]) -> None:
    connection.executemany(
        "INSERT INTO oxy_meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", values.items()
    )


def _read_table(connection: sqlite3.Connection, name: str) -> Table:
    info = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (name,)).fetchall()
    columns = tuple(column for column, _ in info)
    primary_key = tuple(column for column, position in sorted(info, key=lambda row: row[1]) if position)
    form = keys.form_of(name, columns, primary_key)
    rest = [column for column in primary_key if column not in form.columns]
    return Table(name, columns, form, owner=rest[0] if len(rest) == 1 and form.columns else "")


def _install_triggers(connection: sqlite3.Connection, tables: dict[str, Table]) -> None:
    """A trigger is made again only where it differs: every change of the schema makes the library prepare its statements anew."""
    wanted = {name: sql for table in tables.values() for name, sql in _triggers(table).items()}
    if all(name in tables and set(columns) <= set(tables[name].columns) for name, columns in ratchet.NEEDS.items()):
        wanted |= ratchet.triggers()
    present = dict(
        connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'oxy!_%' ESCAPE '!'"
        )
    )
    for name in present.keys() - {name for name, sql in wanted.items() if present.get(name) == sql}:
        connection.execute(f"DROP TRIGGER {quote(name)}")
    for name, sql in wanted.items():
        if present.get(name) != sql:
            connection.execute(sql)


def _triggers(table: Table) -> dict[str, str]:
    """Name → statement. An update that changes the key itself is noted under the old key, too."""
    moved = " OR ".join(f"OLD.{quote(column)} IS NOT NEW.{quote(column)}" for column in table.form.columns)
    old = _note(table, "OLD", deleted=1)
    bodies = {
        "INSERT": [_note(table, "NEW", deleted=0)],
        "UPDATE": [_note(table, "NEW", deleted=0), *([f"{old} WHERE {moved}"] if moved else [])],
        "DELETE": [old],
    }
    return {
        (
            name := f"oxy_journal_{table.name}_{verb.lower()}"
        ): f"CREATE TRIGGER {quote(name)} AFTER {verb} ON {table.quoted} BEGIN {'; '.join(statements)}; END"
        for verb, statements in bodies.items()
    }


def _note(table: Table, row: str, *, deleted: int) -> str:
    slots = ("tbl", "deleted", *_SLOTS[: len(table.form.columns)])
    literal = table.name.replace("'", "''")
    values = (f"'{literal}'", str(deleted), *(f"{row}.{quote(column)}" for column in table.form.columns))
    return f"INSERT INTO oxy_journal ({', '.join(slots)}) SELECT {', '.join(values)}"
