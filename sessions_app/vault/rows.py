"""Rows of a live store between SQLite and the vault's keys and values: reading all or some, and filling a new file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import lru_cache

from sessions_app.vault import journal, keys
from sessions_app.vault.journal import Table, quote


class BadSnapshot(Exception):
    """Content of the vault that no live store can be made of: its rows do not fit its schema."""


def decode_text(data: bytes) -> str:
    """The connection's `text_factory`: names that strangers give themselves need not be UTF-8, and must not stop a reader."""
    return data.decode(errors="surrogateescape")


def read_devices(connection: sqlite3.Connection, tables: dict[str, Table]) -> list[keys.Row]:
    """The device rows, oldest first: one where a phone is linked, none before."""
    device = tables.get(keys.DEVICE_TABLE)
    return _read(connection, device, "TRUE ORDER BY rowid", ()) if device else []


def read_all(connection: sqlite3.Connection, tables: dict[str, Table]) -> dict[str, bytes]:
    """Every row but the devices', by key, and the schema."""
    values = {keys.SCHEMA_KEY: journal.read_schema(connection).encode()}
    for table in tables.values():
        if table.name != keys.DEVICE_TABLE:
            values |= _read_table(connection, table)
    return values


def read_touched(
    connection: sqlite3.Connection, tables: dict[str, Table], touched: Iterable[tuple[str, tuple[keys.Value, ...]]]
) -> dict[str, bytes | None]:
    """The rows that journal entries (table, values of its key columns) speak of, by key; None for those that are gone."""
    named: dict[str, tuple[Table, tuple[keys.Value, ...]]] = {}
    for name, slots in touched:
        if name in tables and name != keys.DEVICE_TABLE:
            table = tables[name]
            values = slots[: len(table.form.columns)]
            named[table.form.name(values)] = table, values
    owners = {table.name: _owners(connection, table) for table, _ in named.values()}
    return {
        key: keys.encode(table.name, found)
        if (found := _read_named(connection, table, values, owners[table.name]))
        else None
        for key, (table, values) in named.items()
    }


def fill(connection: sqlite3.Connection, devices: list[keys.Row], values: dict[str, bytes]) -> None:
    """Make the tables of the recorded schema in an empty file and put every row in. Raises `BadSnapshot`."""
    if keys.SCHEMA_KEY not in values:
        raise BadSnapshot("The vault holds no schema.")
    try:
        schema = keys.Schema.decode(values[keys.SCHEMA_KEY])
        rows: dict[str, list[keys.Row]] = {keys.DEVICE_TABLE: devices, keys.VERSION_TABLE: list(schema.version)}
        for key, value in values.items():
            if key != keys.SCHEMA_KEY:
                name, found = keys.decode(value)
                rows.setdefault(name, []).extend(found)
        for statement in schema.statements:
            connection.execute(statement)
        for name, found in rows.items():
            _insert(connection, name, found)
    except (keys.BadValue, sqlite3.IntegrityError, sqlite3.ProgrammingError) as error:
        raise BadSnapshot(f"The vault's rows do not fit its schema: {error}.") from None


def _read(connection: sqlite3.Connection, table: Table, where: str, values: Iterable[object]) -> list[keys.Row]:
    cursor = connection.execute(f"SELECT {table.column_list} FROM {table.quoted} WHERE {where}", tuple(values))  # noqa: S608
    return [dict(zip(table.columns, row, strict=True)) for row in cursor]


def _read_table(connection: sqlite3.Connection, table: Table) -> dict[str, bytes]:
    named: dict[str, list[keys.Row]] = {}
    for row in _read(connection, table, "TRUE", ()):
        named.setdefault(table.form.name(tuple(row[column] for column in table.form.columns)), []).append(row)
    return {key: keys.encode(table.name, found) for key, found in named.items()}


def _owners(connection: sqlite3.Connection, table: Table) -> list[keys.Value]:
    """Every value of the owner column, and None: by steps along the primary key's index, of which the owner is the first part."""
    if not table.owner:
        return [None]
    owner = quote(table.owner)
    steps = connection.execute(
        f"WITH RECURSIVE o(v) AS (SELECT min({owner}) FROM {table.quoted} UNION ALL"  # noqa: S608
        f" SELECT (SELECT min({owner}) FROM {table.quoted} WHERE {owner} > o.v) FROM o WHERE o.v IS NOT NULL)"
        " SELECT v FROM o"
    )
    return [value for (value,) in steps]


def _read_named(
    connection: sqlite3.Connection, table: Table, values: tuple[keys.Value, ...], owners: list[keys.Value]
) -> list[keys.Row]:
    found: list[keys.Row] = []
    for owner in owners:
        wanted = dict(zip(table.form.columns, values, strict=True))
        if table.owner:
            wanted = {table.owner: owner, **wanted}
        bound = {column: _bind(value) for column, value in wanted.items()}
        where = " AND ".join(f"{quote(column)} IS {mark}" for column, (mark, _) in bound.items()) or "TRUE"
        found += _read(connection, table, where, (value for _, value in bound.values()))
    return found


def _insert(connection: sqlite3.Connection, name: str, rows: list[keys.Row]) -> None:
    known = {column for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (name,))}
    for row in rows:
        if not row.keys() <= known:
            raise BadSnapshot(f"The vault's rows do not fit its schema: {name} has no such columns.")
        bound = [_bind(value) for value in row.values()]
        marks = tuple(mark for mark, _ in bound)
        connection.execute(_insertion(name, tuple(row), marks), [value for _, value in bound])


@lru_cache(maxsize=256)
def _insertion(name: str, columns: tuple[str, ...], marks: tuple[str, ...]) -> str:
    return f"INSERT INTO {quote(name)} ({', '.join(map(quote, columns))}) VALUES ({', '.join(marks)})"  # noqa: S608


def _bind(value: keys.Value) -> tuple[str, keys.Value]:
    """A placeholder and what to bind to it: text that is not UTF-8 has to go in as bytes."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "CAST(? AS TEXT)", value.encode(errors="surrogateescape")
    return "?", value
