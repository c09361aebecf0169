"""Rows of the live store and the vault's keys and values: lossless, and no two names alike."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.vault import keys

# Text as SQLite hands it out: UTF-8 with anything in it, or bytes that are no UTF-8 at all.
TEXT = st.one_of(
    st.text(),
    st.text(alphabet="a,%#~-|\0 1é🦊\u2028\x7f\x85"),
    st.binary().map(lambda data: data.decode(errors="surrogateescape")),
)
INTEGER = st.integers(-(2**63), 2**63 - 1)
VALUE: st.SearchStrategy[keys.Value] = st.one_of(st.none(), INTEGER, st.floats(allow_nan=False), TEXT, st.binary())
# Values whose names would meet if a separator or a mark were not escaped.
NEAR: list[keys.Value] = ["", "a", "b", "a,b", ",", "a,", ",a", "%2C", "%", "#", "%~null", "null", None, 17, 17.0, "17"]
NEAR += ["%~int17", "17.0", b"\x17", b"", "%~blob", "%~blob17", "\0", "%00", "\udcff", "%FF", "\xff"]
ROW = st.dictionaries(TEXT, VALUE, max_size=8)
UNKNOWN = keys.form_of("whatsmeow_new_things", ("a", "b", "c"), ("a", "b"))
FORMS = [*keys.FORMS.values(), UNKNOWN]


def same(left: object, right: object) -> bool:
    return repr(left) == repr(right)  # tells 1 from 1.0 and True, and -0.0 from 0.0


@given(st.sampled_from([*keys.FORMS, "whatsmeow_new_things", "ünknown 🦊"]), st.lists(ROW, max_size=3))
def test_rows_of_every_table_come_back_as_they_were(table: str, rows: list[keys.Row]) -> None:
    name, found = keys.decode(keys.encode(table, rows))

    assert name == table
    assert same(sorted(map(sorted_row, found)), sorted(map(sorted_row, rows)))


def sorted_row(row: keys.Row) -> str:
    return repr(sorted(row.items(), key=lambda item: item[0]))


@given(st.lists(ROW, max_size=4), st.randoms())
def test_equal_rows_in_another_order_give_equal_bytes(rows: list[keys.Row], random: st.DataObject) -> None:
    shuffled = [dict(sorted(row.items(), reverse=True)) for row in rows]
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert keys.encode("whatsmeow_contacts", shuffled) == keys.encode("whatsmeow_contacts", rows)


@given(st.sampled_from(FORMS), st.data())
def test_two_different_keys_never_share_a_name(form: keys.Form, data: st.DataObject) -> None:
    left, right = (data.draw(st.tuples(*[VALUE] * len(form.columns))) for _ in range(2))

    assert (form.name(left) == form.name(right)) == same(left, right)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.prefix)
def test_keys_made_of_separators_and_marks_never_share_a_name(form: keys.Form) -> None:
    tuples = list(itertools.product(NEAR, repeat=len(form.columns)))

    assert len({form.name(values) for values in tuples}) == len(tuples)


@given(st.sampled_from(FORMS), st.sampled_from(FORMS), st.data())
def test_two_tables_never_share_a_name(left: keys.Form, right: keys.Form, data: st.DataObject) -> None:
    names = [form.name(data.draw(st.tuples(*[VALUE] * len(form.columns)))) for form in (left, right)]

    assert left is right or names[0] != names[1]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.prefix)
@given(data=st.data())
def test_a_name_fits_its_column_and_every_database(form: keys.Form, data: st.DataObject) -> None:
    name = form.name(data.draw(st.tuples(*[VALUE] * len(form.columns))))

    assert len(name) <= keys.MAX_KEY_LENGTH
    assert "\0" not in name
    name.encode()  # raises for what PostgreSQL would refuse


@given(st.text(min_size=260, max_size=300), st.text(min_size=260, max_size=300))
def test_a_name_that_is_too_long_becomes_a_digest_of_the_whole_name(left: str, right: str) -> None:
    form = keys.FORMS["whatsmeow_contacts"]
    names = [form.name((left,)), form.name((right,))]

    assert names[0].startswith("contact-#")
    assert len(names[0]) <= keys.MAX_KEY_LENGTH
    assert (names[0] == names[1]) == (left == right)


@given(VALUE)
def test_a_cell_survives_json_and_holds_nothing_that_jsonb_refuses_or_changes(value: keys.Value) -> None:
    written = keys.to_json(value)
    text = json.dumps(written, ensure_ascii=False)

    assert same(keys.from_json(json.loads(text)), value)
    assert not isinstance(written, float)
    assert "\\u0000" not in text
    text.encode()  # raises for a lone surrogate


@pytest.mark.parametrize(
    ("table", "values", "name"),
    [
        ("whatsmeow_pre_keys", (17,), "pre-key-17"),
        ("whatsmeow_sessions", ("4915100000001_1:0",), "session-4915100000001_1:0"),
        ("whatsmeow_identity_keys", ("4915100000001:0",), "identity-4915100000001:0"),
        ("whatsmeow_sender_keys", ("49-15@g.us", "49_1:0"), "sender-key-49-15@g.us,49_1:0"),
        ("whatsmeow_app_state_sync_keys", (b"\0\x01",), "app-state-sync-key-0001"),
        ("whatsmeow_app_state_version", ("regular_high",), "app-state-sync-version-regular_high"),
        ("whatsmeow_lid_map", ("98765",), "lid-mapping-98765"),
        ("whatsmeow_contacts", ("49@s.whatsapp.net",), "contact-49@s.whatsapp.net"),
        ("whatsmeow_chat_settings", ("49@s.whatsapp.net",), "chat-settings-49@s.whatsapp.net"),
        ("whatsmeow_nct_salt", (), "nct-salt"),
    ],
)
def test_names_speak(table: str, values: tuple[keys.Value, ...], name: str) -> None:
    assert keys.FORMS[table].name(values) == name


@pytest.mark.parametrize(
    ("columns", "primary_key", "name"),
    [
        (("a", "b", "c"), ("b", "a"), "row-new,1,2"),
        (("a", "b", "c"), (), "row-new"),
        (tuple("abcdefghi"), tuple("abcdefghi"), "row-new"),
    ],
    ids=["by primary key", "no primary key", "primary key too wide"],
)
def test_a_table_of_a_newer_library_gets_the_general_form(
    columns: tuple[str, ...], primary_key: tuple[str, ...], name: str
) -> None:
    form = keys.form_of("new", columns, primary_key)

    assert form.name(("1", "2")[: len(form.columns)]) == name


def test_a_known_table_that_lost_a_column_of_its_name_gets_the_general_form() -> None:
    form = keys.form_of("whatsmeow_lid_map", ("id", "pn"), ("id",))

    assert form.name(("7",)) == "row-whatsmeow_lid_map,7"


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"{}", b'{"table":"t","rows":[1]}', b'{"table":"t","rows":[{"a":[]}]}', b"\xff"]
)
def test_a_value_that_is_none_of_ours_is_refused_without_being_quoted(value: bytes) -> None:
    with pytest.raises(keys.BadValue) as caught:
        keys.decode(value)

    assert str(caught.value).startswith("not rows of a live store")


@given(st.lists(st.text(), max_size=3), st.lists(ROW, max_size=2))
def test_a_schema_comes_back_as_it_was(statements: list[str], version: list[keys.Row]) -> None:
    schema = keys.Schema(tuple(statements), tuple(version))

    assert same(keys.Schema.decode(schema.encode()).statements, schema.statements)
    assert same(list(map(sorted_row, keys.Schema.decode(schema.encode()).version)), list(map(sorted_row, version)))
