"""Migrations are safe while the release before them still runs: with its idea of every table it reads and writes the new ones."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import Error, connection, models
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations import AddField, RemoveField, RunPython, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import StateApps
from django.utils import timezone

pytestmark = pytest.mark.django_db

APP = "sessions_app"
#: What the latest release ends with; to be moved on with each release.
RELEASED = "0001_initial"


def released() -> StateApps:
    """The models as the released code knows them."""
    return MigrationExecutor(connection).loader.project_state((APP, RELEASED)).apps


def since() -> Iterator[tuple[str, Operation]]:
    loader = MigrationExecutor(connection).loader
    for (app, name), migration in sorted(loader.disk_migrations.items()):
        if app == APP and name > RELEASED:
            yield from ((name, operation) for operation in migration.operations)


def write(model: type[models.Model], apps: StateApps) -> models.Model:
    """A row with nothing in it that need not be there, and what it refers to."""
    values: dict[str, Any] = {}
    for field in model._meta.local_fields:
        if field.primary_key and isinstance(field, models.AutoField | models.BigAutoField):
            continue
        if isinstance(field, models.ForeignKey | models.OneToOneField):
            if not field.null:
                values[field.name] = write(field.related_model, apps)
        elif not (field.null or field.has_default() or field.has_db_default() or field.blank):
            values[field.name] = fitting(field)
    return model._default_manager.create(**values)


def fitting(field: models.Field) -> Any:
    kinds: list[tuple[type[models.Field], Any]] = [
        (models.DateTimeField, timezone.now()),
        (models.UUIDField, uuid.uuid4()),
        (models.BinaryField, b"x"),
        (models.JSONField, {}),
        (models.BooleanField, True),
        (models.IntegerField, 1),
        (models.FloatField, 1.0),
        (models.CharField, uuid.uuid4().hex[: min(field.max_length or 32, 32)]),
        (models.TextField, "x"),
    ]
    if field.choices:
        return field.choices[0][0]
    return next(value for kind, value in kinds if isinstance(field, kind))


def names() -> list[str]:
    # Known before a database is there.
    from django.db.migrations.loader import MigrationLoader

    state = MigrationLoader(None).project_state((APP, RELEASED))
    return sorted(name for app, name in state.models if app == APP)


@pytest.mark.parametrize("name", names())
def test_the_released_code_still_writes_and_reads(name: str) -> None:
    apps = released()
    model = apps.get_model(APP, name)

    row = write(model, apps)

    found = model._default_manager.get(pk=row.pk)
    columns = [field for field in model._meta.local_fields if not (field.primary_key or field.is_relation)]
    assert model._default_manager.filter(pk=row.pk).update(
        **{field.name: getattr(found, field.name) for field in columns}
    )


def test_data_is_not_moved_while_both_releases_write_it() -> None:
    """What a migration writes once, the old release goes on to write the old way."""
    assert [name for name, operation in since() if isinstance(operation, RunPython | RunSQL)] == []


@pytest.mark.only_postgresql
@pytest.mark.parametrize(
    ("operation", "is_safe"),
    [
        (AddField("layermessage", "later", models.IntegerField(null=True)), True),
        (AddField("layermessage", "later", models.IntegerField(db_default=1)), True),
        (AddField("layermessage", "later", models.IntegerField(default=1)), False),
        (RemoveField("layermessage", "body"), False),
    ],
    ids=["nullable", "filled by the database", "filled by the new code alone", "taken away"],
)
def test_a_migration_that_is_not_safe_would_be_noticed(operation: Operation, is_safe: bool) -> None:
    apps = released()
    state = MigrationExecutor(connection).loader.project_state()
    after = state.clone()
    operation.state_forwards(APP, after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards(APP, editor, state, after)

    if is_safe:
        write(apps.get_model(APP, "layermessage"), apps)
    else:
        with pytest.raises(Error):
            write(apps.get_model(APP, "layermessage"), apps)
