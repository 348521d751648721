from datetime import datetime

import pytest

from installation.supervision.hours import Hours
from installation.supervision.opening_state import OpeningState

ZONE = "Test/Berlin"


def at(text):
    return datetime.fromisoformat(f"2026-11-{text}+01:00")


@pytest.fixture
def doors():
    return OpeningState(Hours(["mon-fri 10:00-18:00"], ["2026-11-25"], ZONE))


def test_each_change_is_told_once(doors):
    times = ["23T09:59", "23T10:00", "23T10:01", "23T17:59", "23T18:00", "23T23:00", "24T10:00"]
    assert [doors.look(at(time)) for time in times] == [True, True, False, False, True, False, True]


def test_they_say_when_they_open(doors):
    doors.look(at("24T12:00"))
    assert str(doors) == "open"
    doors.look(at("24T20:00"))
    assert str(doors) == "closed until Thu 26 Nov 2026, 10:00"


def test_only_what_the_clock_shows_now_counts(doors):
    # It was wrong at the start, and is then set by the network, to either side.
    assert doors.look(datetime.fromisoformat("1970-01-01T00:00+00:00"))
    assert not doors.open
    assert doors.look(at("24T12:00"))
    assert doors.open
    assert doors.look(at("22T12:00"))
    assert str(doors) == "closed until Mon 23 Nov 2026, 10:00"


def test_other_hours_hold_from_the_next_look_on(doors):
    doors.look(at("22T12:00"))
    doors.hours = Hours()
    assert doors.look(at("22T12:00"))
    doors.hours = Hours([], ["01-01..12-31"], ZONE)
    assert doors.look(at("22T12:00"))
    assert str(doors) == "closed"
