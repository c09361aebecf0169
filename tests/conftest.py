"""Fixtures of every test, and which tests belong to which database. The environment is in `tests/settings.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite in a file: the one in memory, which Django would take, has other locks and can't be opened by a second process."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        database["TEST"] = {
            **database.get("TEST", {}),
            "NAME": str(tmp_path_factory.mktemp("database") / "tests.sqlite3"),
        }


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one database's own ways are deselected on the other: they are not skipped, they belong to the other run."""
    foreign = "only_sqlite" if os.environ.get("OXY_TEST_DATABASE_URL") else "only_postgresql"
    ours = [item for item in items if item.get_closest_marker(foreign) is None]
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(foreign) is not None])
    items[:] = ours


@pytest.fixture(autouse=True)
def _background_connections_end() -> Iterator[None]:
    """Connections of other threads must not outlive their test: the test database could not be removed."""
    from asgiref.sync import SyncToAsync
    from channels.layers import channel_layers
    from django.db import connections

    yield
    for layer in channel_layers.backends.values():
        if stop := getattr(layer, "stop_listening", None):
            stop()
    # Where coroutines of a test do their database work.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
