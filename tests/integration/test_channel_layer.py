"""News between processes, on the database that this run uses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.db import database_sync_to_async
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import channel_layers, get_channel_layer
from channels.testing import WebsocketCommunicator
from django.db import connection, transaction
from django.db.models.functions import Now

from sessions_app import channel_layer, channel_listener
from sessions_app.channel_layer import DatabaseChannelLayer
from sessions_app.models import LayerMessage
from tests import processes

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 10.0
NEWS = {"type": "test.news", "text": "hi"}


@pytest.fixture
async def layer() -> AsyncIterator[DatabaseChannelLayer]:
    layer = DatabaseChannelLayer()
    yield layer
    await layer.close()


async def join(layer: DatabaseChannelLayer, group: str = "tests") -> str:
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    return channel


async def next_message(layer: DatabaseChannelLayer, channel: str) -> dict[str, Any]:
    return await asyncio.wait_for(layer.receive(channel), PATIENCE)


async def heard_before_marker(layer: DatabaseChannelLayer, channel: str) -> list[dict[str, Any]]:
    """Everything that arrives before a message that is sent now: news keeps its order, so nothing else is on its way."""
    marker = {"type": "test.marker"}
    await layer.group_send("tests", marker)
    heard = []
    while (message := await next_message(layer, channel)) != marker:
        heard.append(message)
    return heard


def publish_in_thread(layer: DatabaseChannelLayer, *messages: dict[str, Any]) -> None:
    """From a thread of its own, as a lane does."""

    def work() -> None:
        for message in messages:
            layer.publish(["tests"], message)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)


@contextlib.contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.integration.news_child", *arguments]
    process = subprocess.Popen(
        command, env=processes.environment(), cwd=processes.ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield process
        process.kill()


async def line_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    return json.loads(await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE))


# --- what a layer must do ------------------------------------------------------------


async def test_news_of_a_thread_reaches_every_member_of_the_group_and_nobody_else(layer: DatabaseChannelLayer) -> None:
    first, second = await join(layer), await join(layer)
    stranger = await join(layer, "others")

    publish_in_thread(layer, NEWS)

    assert await next_message(layer, first) == NEWS
    assert await next_message(layer, second) == NEWS
    await layer.group_send("others", {"type": "test.other"})
    assert await next_message(layer, stranger) == {"type": "test.other"}


async def test_all_news_of_another_process_arrives_from_eight_threads_at_once(layer: DatabaseChannelLayer) -> None:
    channel = await join(layer)
    layer.capacity = 1_000  # what is tested is the way, not how much a slow reader is kept
    expected = {(thread, number) for thread in range(8) for number in range(25)}

    with child("publish", "tests", "8", "25") as process:
        heard = set()
        while len(heard) < len(expected):
            message = await next_message(layer, channel)
            heard.add((message["thread"], message["number"]))
        await asyncio.to_thread(process.wait, PATIENCE)

    assert heard == expected


async def test_another_process_hears_a_group_and_its_own_channel(layer: DatabaseChannelLayer) -> None:
    with child("listen", "tests") as process:
        channel = (await line_of(process))["channel"]

        await layer.group_send("tests", NEWS)
        assert await line_of(process) == NEWS

        await layer.send(channel, {"type": "test.direct"})
        assert await line_of(process) == {"type": "test.direct"}


async def test_news_is_heard_when_its_transaction_commits_and_not_before(layer: DatabaseChannelLayer) -> None:
    channel = await join(layer)
    published, may_commit = threading.Event(), threading.Event()

    def work() -> None:
        with transaction.atomic():
            layer.publish(["tests"], NEWS)
            published.set()
            may_commit.wait(PATIENCE)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.to_thread(published.wait, PATIENCE)
    if connection.vendor == "postgresql":  # SQLite has one writer: a marker would wait for it
        assert await heard_before_marker(layer, channel) == []
    else:
        assert channel_is_silent(layer, channel)
    may_commit.set()

    assert await next_message(layer, channel) == NEWS
    thread.join(PATIENCE)


def channel_is_silent(layer: DatabaseChannelLayer, channel: str) -> bool:
    channel_listener.wake(channel_listener.wake_directory())  # make it look now
    return not layer._boxes[channel].messages


async def test_news_of_a_transaction_that_is_rolled_back_is_never_heard(layer: DatabaseChannelLayer) -> None:
    channel = await join(layer)

    def work() -> None:
        with transaction.atomic():
            layer.publish(["tests"], NEWS)
            transaction.set_rollback(True)

    await database_sync_to_async(work)()

    assert await heard_before_marker(layer, channel) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 100_000, id="100 KB"),
        pytest.param("é" * 5_000, id="fewer characters than the limit, more bytes"),
        *(pytest.param("x" * size, id=f"{size} around the limit") for size in range(7_830, 7_860, 5)),
    ],
)
async def test_news_of_any_size_arrives(layer: DatabaseChannelLayer, text: str) -> None:
    channel = await join(layer)

    await layer.group_send("tests", {"type": "test.news", "text": text})

    assert (await next_message(layer, channel))["text"] == text


async def test_a_member_that_left_hears_nothing(layer: DatabaseChannelLayer) -> None:
    left, stayed = await join(layer), await join(layer)
    await layer.group_discard("tests", left)

    await layer.group_send("tests", NEWS)

    assert await next_message(layer, stayed) == NEWS
    assert left not in layer._boxes


async def test_a_websocket_consumer_hears_news() -> None:
    class Consumer(AsyncWebsocketConsumer):
        groups = ("tests",)

        async def test_news(self, message: dict[str, Any]) -> None:
            await self.send(text_data=message["text"])

    # Sockets of other tests in this process may not have left yet.
    before = set(channel_layers["default"]._boxes)
    communicator = WebsocketCommunicator(Consumer.as_asgi(), "/")
    assert (await communicator.connect())[0]

    await database_sync_to_async(get_channel_layer().publish)(["tests"], NEWS)

    assert await communicator.receive_from(timeout=PATIENCE) == "hi"
    await communicator.disconnect()
    assert set(channel_layers["default"]._boxes) <= before


async def test_names_and_messages_that_cannot_travel_are_refused(layer: DatabaseChannelLayer) -> None:
    with pytest.raises(TypeError):
        layer.publish(["no spaces"], NEWS)
    with pytest.raises(TypeError):
        await layer.group_send("tests", {"type": "test.news", "bytes": b"x"})
    with pytest.raises(ValueError, match="no work queues"):
        await layer.send("a-queue", NEWS)


# --- when something is lost ------------------------------------------------------------


async def test_members_are_told_to_resync_after_news_was_missed(
    layer: DatabaseChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await join(layer)

    await database_sync_to_async(lose_news)()

    assert await next_message(layer, channel) == {"type": "layer.resync"}
    await layer.group_send("tests", NEWS)
    assert await next_message(layer, channel) == NEWS


def lose_news() -> None:
    """What a restart of PostgreSQL does to the listener; on SQLite, rows that were pruned before they were read."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %s"
                " AND pid <> pg_backend_pid()",
                ["SELECT 1%"],
            )
            assert cursor.fetchall() == [(True,)]
    else:
        with transaction.atomic():
            LayerMessage.objects.create(body="lost")
            LayerMessage.objects.all().delete()


async def test_a_socket_may_join_while_the_database_is_away(
    layer: DatabaseChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_layer, "JOIN_PATIENCE", 0.1)
    open_ear = channel_listener._open_ear
    monkeypatch.setattr(channel_listener, "_open_ear", lambda: 1 / 0)
    channel = await join(layer)

    monkeypatch.setattr(channel_listener, "_open_ear", open_ear)

    assert await next_message(layer, channel) == {"type": "layer.resync"}


async def test_a_channel_that_nobody_reads_is_forgotten(layer: DatabaseChannelLayer) -> None:
    channel = await join(layer)
    layer.expiry = 0

    await layer.send(channel, NEWS)
    with pytest.raises(ChannelFull):
        await layer.send(channel, NEWS)

    assert layer._boxes == {}


async def test_a_full_channel_refuses_and_keeps_what_it_has(layer: DatabaseChannelLayer) -> None:
    layer.capacity = 2
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "test.news", "number": 1})
    await layer.send(channel, {"type": "test.news", "number": 2})

    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "test.news", "number": 3})

    assert [(await next_message(layer, channel))["number"] for _ in range(2)] == [1, 2]


async def test_a_reader_that_is_cancelled_loses_no_message(layer: DatabaseChannelLayer) -> None:
    channel = await join(layer)
    reader = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader

    await layer.group_send("tests", NEWS)

    assert await next_message(layer, channel) == NEWS


def test_a_member_whose_event_loop_is_closed_does_not_stop_the_others() -> None:
    layer = DatabaseChannelLayer()
    gone = asyncio.run(join(layer))

    async def another() -> None:
        channel = await join(layer)
        await layer.group_send("tests", NEWS)
        assert await next_message(layer, channel) == NEWS

    asyncio.run(another())
    assert gone in layer._boxes
    layer.stop_listening()


async def test_old_rows_are_pruned(layer: DatabaseChannelLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        row = LayerMessage.objects.create(body="old")
        LayerMessage.objects.update(created_at=Now() - 2 * channel_layer.KEEP_ROWS)
        layer.publish(["tests"], {"type": "test.news", "text": "x" * 10_000})
        assert not LayerMessage.objects.filter(pk=row.pk).exists()
        assert LayerMessage.objects.count() == 1

    await database_sync_to_async(work)()


def test_a_thread_publishes_on_its_own_connection_and_opens_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    # A host keeps its connections; `oxy.asgi`, which other tests import into this process, does not.
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 60)
    connection.close()
    layer = DatabaseChannelLayer()
    opened: list[int] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(connection_counter(opened))
        for _ in range(20):
            layer.publish(["tests"], NEWS)
            async_to_sync(layer.group_send)("tests", NEWS)
    assert opened == []


@contextlib.contextmanager
def connection_counter(opened: list[int]) -> Iterator[None]:
    from django.db.backends.signals import connection_created

    def count(**_: object) -> None:
        opened.append(threading.get_ident())

    connection.ensure_connection()
    connection_created.connect(count)
    try:
        yield
    finally:
        connection_created.disconnect(count)


# --- each database's own traps ---------------------------------------------------------


@pytest.mark.only_postgresql
async def test_rows_that_commit_out_of_order_all_arrive(layer: DatabaseChannelLayer) -> None:
    channel = await join(layer)
    inserted, may_commit = threading.Event(), threading.Event()

    def early_id_late_commit() -> None:
        with transaction.atomic():
            layer.publish(["tests"], {"type": "test.news", "text": "first" * 2_000})
            inserted.set()
            may_commit.wait(PATIENCE)
        connection.close()

    thread = threading.Thread(target=early_id_late_commit)
    thread.start()
    await asyncio.to_thread(inserted.wait, PATIENCE)
    await layer.group_send("tests", {"type": "test.news", "text": "second" * 2_000})
    assert (await next_message(layer, channel))["text"].startswith("second")
    may_commit.set()

    assert (await next_message(layer, channel))["text"].startswith("first")
    thread.join(PATIENCE)


@pytest.mark.only_postgresql
async def test_large_and_small_news_in_a_burst_all_arrive(layer: DatabaseChannelLayer) -> None:
    """Fetching a row in the middle of a batch must neither block nor lose the notifications that come meanwhile."""
    channel = await join(layer)
    layer.capacity = 1_000
    texts = [str(number) * (9_000 if number % 3 == 0 else 1) for number in range(90)]

    await database_sync_to_async(
        lambda: [layer.publish(["tests"], {"type": "test.news", "text": text}) for text in texts]
    )()

    assert [(await next_message(layer, channel))["text"] for _ in texts] == texts


@pytest.mark.only_postgresql
async def test_no_membership_is_written_to_the_database(layer: DatabaseChannelLayer) -> None:
    await join(layer)
    await layer.group_send("tests", NEWS)

    assert not await LayerMessage.objects.aexists()


@pytest.mark.only_sqlite
async def test_the_datagram_wakes_the_listener_without_the_poll(
    layer: DatabaseChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_listener._SqliteEar, "interval", 3600)
    channel = await join(layer)

    with child("publish", "tests", "1", "1"):
        assert (await next_message(layer, channel))["type"] == "test.news"


@pytest.mark.only_sqlite
def test_the_datagram_goes_out_after_the_commit() -> None:
    """Before it, a listener would look and find nothing, and no other datagram would follow."""
    folder = channel_listener.wake_directory()
    folder.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, channel_listener._short(folder) as short:
        listener.bind(f"{short}/listener")
        listener.setblocking(False)

        with transaction.atomic():
            DatabaseChannelLayer().publish(["tests"], NEWS)
            with pytest.raises(BlockingIOError):
                listener.recv(16)

        assert listener.recv(16) == b"!"
    (folder / "listener").unlink()


@pytest.mark.only_sqlite
async def test_the_poll_finds_news_where_no_datagram_arrives(
    layer: DatabaseChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await join(layer)
    monkeypatch.setattr(channel_layer, "wake", lambda directory: None)

    publish_in_thread(layer, NEWS)

    assert await next_message(layer, channel) == NEWS


@pytest.mark.only_sqlite
async def test_the_socket_of_a_killed_process_is_removed(layer: DatabaseChannelLayer) -> None:
    folder = channel_listener.wake_directory()
    with child("listen", "tests") as process:
        await line_of(process)
        left = {path.name for path in folder.iterdir() if path.name.startswith(f"{process.pid}-")}
        assert left
        process.kill()
        process.wait(PATIENCE)

    await layer.group_send("tests", NEWS)

    assert left.isdisjoint(path.name for path in folder.iterdir())
