from types import SimpleNamespace

import pytest

from installation.capture import outages as module
from installation.capture.outages import OutageLog


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def lines(caplog):
    caplog.set_level("INFO")
    return lambda: [record.message for record in caplog.records]


def test_a_loss_is_told_at_once_then_once_a_minute_then_its_end(clock, lines):
    losses = OutageLog()
    for _ in range(150):
        losses.lose("camera: gone")
        clock.now += 1
    assert (losses.trouble, losses.count) == ("camera: gone", 1)
    losses.recover("camera")
    assert (losses.trouble, losses.count) == (None, 1)
    assert lines() == [
        "camera: gone",
        "camera: gone (lost 60 s ago)",
        "camera: gone (lost 120 s ago)",
        "camera: back after 150.0 s",
    ]


def test_another_reason_is_the_trouble_but_no_other_loss(clock, lines):
    losses = OutageLog()
    losses.lose("camera: gone")
    losses.lose("camera: in use")
    assert (losses.trouble, losses.count, len(lines())) == ("camera: in use", 1, 1)


def test_a_source_that_comes_and_goes_does_not_flood_the_journal(clock, lines):
    losses = OutageLog()
    for _ in range(6000):
        losses.lose("camera: gone")
        clock.now += 0.05
        losses.recover("camera")
        clock.now += 0.05
    assert losses.count == 6000
    # Ten minutes, five losses a minute, each with its end.
    assert len(lines()) == 2 * 5 * 10


def test_a_loss_that_was_passed_over_is_told_of_when_it_lasts(clock, lines):
    losses = OutageLog()
    for _ in range(5):
        losses.lose("camera: gone")
        losses.recover("camera")
    before = len(lines())
    for _ in range(70):
        losses.lose("camera: gone for good")
        clock.now += 1
    assert lines()[before:] == ["camera: gone for good"]
    losses.recover("camera")
    assert lines()[-1] == "camera: back after 70.0 s"


def test_what_is_not_wanted_any_more_is_not_back(clock, lines):
    losses = OutageLog()
    losses.lose("camera: gone")
    losses.forget()
    losses.recover("camera")
    assert (losses.trouble, lines()) == (None, ["camera: gone"])
