"""The spool: nothing that was written is lost or changed, whatever happens to the end of a file."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions_app.engine import events
from sessions_app.engine.spool import MARKER, Position, SpoolReader, SpoolWriter, frame, load_position

PROJECT = Path(__file__).resolve().parents[2]


def message(number: int, text: str = "", raw: bytes = b"") -> events.MessageReceived:
    return events.MessageReceived(
        session="shop", epoch=1, at=1.5, message_id=str(number), chat="c", sender="s", text=text, raw=raw
    )


def numbers(found: list[events.Message]) -> list[int]:
    return [int(event.message_id) for event in found]


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.spool"))


def write(directory: Path, *found: events.Message, **more: int) -> None:
    writer = SpoolWriter(directory, **more)
    for event in found:
        assert writer.append(event)
    writer.close()


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.tuples(st.text(), st.binary(max_size=300)), max_size=30),
    segment_bytes=st.integers(1, 2000),
    limit=st.integers(1, 10),
)
def test_what_is_written_is_read_back_in_order(texts: list[tuple[str, bytes]], segment_bytes: int, limit: int) -> None:
    sent = [message(number, text, raw) for number, (text, raw) in enumerate(texts)]
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), *sent, segment_bytes=segment_bytes)
        reader, found = SpoolReader(name), list[events.Message]()
        while batch := reader.read(limit):
            found += batch
            reader.commit()
        assert found == sent
        assert not reader.pending()
        assert reader.damaged == 0


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(1, 400), count=st.integers(1, 6))
def test_a_record_that_was_torn_by_a_crash_costs_only_itself(cut: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write(directory, *(message(number, "x" * 100) for number in range(count)))
        size = segments(directory)[0].stat().st_size
        cut = min(cut, size - 1)
        os.truncate(segments(directory)[0], size - cut)
        write(directory, message(100), message(101))

        reader = SpoolReader(directory)
        found = numbers(reader.read())
        whole = (size - cut) // (size // count)
        assert found == [*range(whole), 100, 101]
        assert reader.damaged == ((size - cut) % (size // count) > 0)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(1, 255))
def test_a_damaged_byte_costs_one_record_and_is_said(place: int, value: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write(directory, *(message(number, "x" * 50) for number in range(8)))
        write(directory, message(8))
        path = segments(directory)[0]
        data = bytearray(path.read_bytes())
        place %= len(data)
        data[place] ^= value
        path.write_bytes(data)

        reader = SpoolReader(directory)
        hit = place // (len(data) // 8)
        assert numbers(reader.read()) == [number for number in range(9) if number != hit]
        assert reader.damaged >= 1


def test_a_record_under_way_is_waited_for(tmp_path: Path) -> None:
    record = frame(message(1))
    for seen in range(len(record)):
        path = tmp_path / "0000000001.spool"
        path.write_bytes(record[:seen])
        reader = SpoolReader(tmp_path)
        assert reader.read() == []
        assert not reader.pending()
        assert reader.damaged == 0
        path.write_bytes(record)
        assert numbers(reader.read()) == [1]


def test_a_damaged_last_record_is_not_waited_for(tmp_path: Path) -> None:
    record = bytearray(frame(message(1)))
    record[-1] ^= 1
    (tmp_path / "0000000001.spool").write_bytes(record)
    reader = SpoolReader(tmp_path)
    assert reader.read() == []
    assert reader.damaged == 1


def test_a_whole_record_with_an_unknown_event_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, message(1))
    path = segments(tmp_path)[0]
    strange = frame(message(2)).replace(b"MessageReceived", b"MessageBelieved")
    payload = strange[12:]
    path.write_bytes(path.read_bytes() + MARKER + struct.pack(">II", len(payload), zlib.crc32(payload)) + payload)
    write(tmp_path, message(3))

    with caplog.at_level(logging.ERROR):
        assert numbers(SpoolReader(tmp_path).read()) == [1, 3]
    assert "spool_damaged" in caplog.text


def test_a_reader_that_died_before_its_commit_reads_the_same_again(tmp_path: Path) -> None:
    write(tmp_path, *map(message, range(5)))
    first = SpoolReader(tmp_path)
    assert numbers(first.read(2)) == [0, 1]
    first.commit()
    assert numbers(first.read(2)) == [2, 3]

    assert numbers(SpoolReader(tmp_path).read()) == [2, 3, 4]


def test_a_reader_can_take_its_reading_back(tmp_path: Path) -> None:
    write(tmp_path, *map(message, range(3)))
    reader = SpoolReader(tmp_path)
    assert numbers(reader.read(1)) == [0]
    reader.commit()
    assert numbers(reader.read()) == [1, 2]
    assert reader.pending()
    reader.rewind()
    assert numbers(reader.read()) == [1, 2]


def test_consumed_segments_are_deleted_and_the_newest_stays(tmp_path: Path) -> None:
    write(tmp_path, *map(message, range(6)), segment_bytes=1)
    assert len(segments(tmp_path)) == 6
    reader = SpoolReader(tmp_path)
    reader.read(4)
    assert len(segments(tmp_path)) == 6
    reader.commit()
    assert [path.name for path in segments(tmp_path)] == [f"{number:010d}.spool" for number in (4, 5, 6)]
    reader.read()
    reader.commit()
    assert len(segments(tmp_path)) == 1


def test_a_new_writer_never_uses_a_number_again(tmp_path: Path) -> None:
    write(tmp_path, message(1))
    reader = SpoolReader(tmp_path)
    reader.read()
    reader.commit()
    for path in segments(tmp_path):
        path.unlink()

    write(tmp_path, message(2))
    assert numbers(SpoolReader(tmp_path).read()) == [2]


def test_a_position_that_cannot_be_read_means_the_beginning(tmp_path: Path) -> None:
    write(tmp_path, message(1), message(2))
    reader = SpoolReader(tmp_path)
    reader.read(1)
    reader.commit()
    stored = bytearray((tmp_path / "position").read_bytes())
    stored[10] ^= 1
    (tmp_path / "position").write_bytes(stored)

    assert load_position(tmp_path) == Position()
    assert numbers(SpoolReader(tmp_path).read()) == [1, 2]


def test_a_spool_that_is_not_there_is_empty(tmp_path: Path) -> None:
    reader = SpoolReader(tmp_path / "nowhere")
    assert reader.read() == []
    assert not reader.pending()
    reader.commit()


def test_only_the_owner_may_read_a_spool(tmp_path: Path) -> None:
    write(tmp_path / "spool", message(1))
    reader = SpoolReader(tmp_path / "spool")
    reader.read()
    reader.commit()
    for path in [tmp_path / "spool", *(tmp_path / "spool").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_threads_can_append_at_once(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, segment_bytes=3000)
    threads = [
        threading.Thread(target=lambda start=start: [writer.append(message(start + number)) for number in range(100)])
        for start in (0, 100, 200, 300)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()

    found = numbers(SpoolReader(tmp_path).read(1000))
    assert sorted(found) == list(range(400))
    for start in (0, 100, 200, 300):
        assert [number for number in found if start <= number < start + 100] == list(range(start, start + 100))


def test_what_a_full_disk_refuses_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SpoolWriter(tmp_path)
    assert writer.append(message(1))
    real, room = os.write, [10]

    def full(file: int, data: bytes) -> int:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[: room.pop(0)])

    room.append(0)
    monkeypatch.setattr(os, "write", full)
    assert not writer.append(message(2))
    assert not writer.append(message(3))
    monkeypatch.setattr(os, "write", real)
    assert writer.retry()
    assert writer.append(message(4))
    writer.close()

    reader = SpoolReader(tmp_path)
    assert numbers(reader.read()) == [1, 2, 3, 4]
    assert reader.damaged == 1


def test_what_a_full_disk_refuses_to_the_last_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = SpoolWriter(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        assert not writer.append(message(1))
        assert not writer.append(message(2))
        assert [events.decode(event) for event in writer.close()] == [message(1), message(2)]

    assert writer.retry()
    assert SpoolReader(tmp_path).read() == []


def test_what_was_taken_over_is_not_given_again_where_the_disk_has_no_room_for_the_position(tmp_path: Path) -> None:
    write(tmp_path, message(1))
    reader, obstacle = SpoolReader(tmp_path), tmp_path / "position.new"
    obstacle.mkdir()  # stands for a full disk: a file of that name cannot be written
    assert numbers(reader.read()) == [1]
    reader.commit()

    reader.rewind()
    assert reader.read() == []
    assert not reader.pending()
    reader.reopen()
    assert reader.read() == []

    assert numbers(SpoolReader(tmp_path).read()) == [1], "after a crash it is given once more"
    obstacle.rmdir()
    reader.commit()
    assert SpoolReader(tmp_path).read() == []


@pytest.mark.parametrize("full", [False, True], ids=["stored", "not stored"])
def test_a_spool_that_was_cleared_away_is_read_from_its_new_beginning(tmp_path: Path, full: bool) -> None:
    write(tmp_path, message(1), message(2))
    reader = SpoolReader(tmp_path)
    reader.read()
    if full:
        (tmp_path / "position.new").mkdir()
    reader.commit()

    shutil.rmtree(tmp_path)
    reader.reopen()
    write(tmp_path, message(3))

    assert numbers(reader.read()) == [3]


def test_what_was_appended_survives_a_kill(tmp_path: Path) -> None:
    script = (
        "import sys; from sessions_app.engine.spool import SpoolWriter; from sessions_app.engine import events\n"
        "writer = SpoolWriter(sys.argv[1])\n"
        "for number in range(10**6):\n"
        "    writer.append(events.UnknownHappened(session='s', epoch=1, at=0.0, name=str(number)))\n"
        "    if number % 100 == 0: print(number, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, cwd=PROJECT
    ) as process:
        assert process.stdout is not None
        said = 0
        while said < 3000:
            said = int(process.stdout.readline())
        process.kill()

    reader, found = SpoolReader(tmp_path), list[events.Message]()
    while batch := reader.read():
        found += batch
    assert [event.name for event in found] == [str(number) for number in range(len(found))]
    assert len(found) > said
    assert reader.damaged == 0
