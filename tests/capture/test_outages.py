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


def test_an_outage_is_logged_at_once_then_every_minute_then_its_end(clock, lines):
    outages = OutageLog()
    for _ in range(150):
        outages.record_loss("camera: gone")
        clock.now += 1
    assert (outages.error, outages.count) == ("camera: gone", 1)
    outages.record_recovery("camera")
    assert (outages.error, outages.count) == (None, 1)
    assert lines() == [
        "camera: gone",
        "camera: gone (lost 60 s ago)",
        "camera: gone (lost 120 s ago)",
        "camera: back after 150.0 s",
    ]


def test_another_error_is_no_other_outage(clock, lines):
    outages = OutageLog()
    outages.record_loss("camera: gone")
    outages.record_loss("camera: in use")
    assert (outages.error, outages.count, len(lines())) == ("camera: in use", 1, 1)


def test_an_unreliable_source_does_not_flood_the_log(clock, lines):
    outages = OutageLog()
    for _ in range(6000):
        outages.record_loss("camera: gone")
        clock.now += 0.05
        outages.record_recovery("camera")
        clock.now += 0.05
    assert outages.count == 6000
    # Ten minutes, five outages a minute, each with its end.
    assert len(lines()) == 2 * 5 * 10


def test_an_outage_that_was_not_logged_is_logged_if_it_lasts(clock, lines):
    outages = OutageLog()
    for _ in range(5):
        outages.record_loss("camera: gone")
        outages.record_recovery("camera")
    before = len(lines())
    for _ in range(70):
        outages.record_loss("camera: gone for good")
        clock.now += 1
    assert lines()[before:] == ["camera: gone for good"]
    outages.record_recovery("camera")
    assert lines()[-1] == "camera: back after 70.0 s"


def test_a_source_that_is_no_longer_wanted_is_not_reported_as_back(clock, lines):
    outages = OutageLog()
    outages.record_loss("camera: gone")
    outages.reset()
    outages.record_recovery("camera")
    assert (outages.error, lines()) == (None, ["camera: gone"])
