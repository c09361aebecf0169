"""What the charts are drawn from."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sessions_app.lifecycle import Status
from sessions_app.models import Message, Sample
from tests.rows import make_session

pytestmark = pytest.mark.django_db


def write(direction: str, count: int = 1) -> None:
    session = make_session()
    for _ in range(count):
        Message.objects.create(session=session, direction=direction, chat="x", status="received")


def test_a_sample_counts_who_is_connected_and_who_should_be() -> None:
    make_session(Status.CONNECTED, paired_at=timezone.now())
    make_session(Status.WAITING, paired_at=timezone.now())
    make_session(Status.NEW)
    make_session(Status.STOPPED, desired="stopped", paired_at=timezone.now())
    sample = Sample.take()
    assert (sample.connected, sample.wanted) == (1, 2)


def test_each_message_is_counted_in_one_sample() -> None:
    write("in", 5)
    first = Sample.take()
    write("in", 2)
    write("out", 3)
    second, third = Sample.take(), Sample.take()
    assert [(s.received, s.sent) for s in (first, second, third)] == [(0, 0), (2, 3), (0, 0)]


def test_old_samples_are_forgotten() -> None:
    old = Sample.objects.create(at=timezone.now() - timedelta(days=3))
    recent = Sample.objects.create(at=timezone.now() - timedelta(hours=23))
    Sample.take()
    assert not Sample.objects.filter(pk=old.pk).exists()
    assert Sample.objects.filter(pk=recent.pk).exists()
