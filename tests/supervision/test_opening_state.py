from datetime import datetime

import pytest

from installation.supervision.hours import Schedule
from installation.supervision.opening_state import OpeningState

ZONE = "Test/Berlin"


def at(text):
    return datetime.fromisoformat(f"2026-11-{text}+01:00")


@pytest.fixture
def state():
    return OpeningState(Schedule(["mon-fri 10:00-18:00"], ["2026-11-25"], ZONE))


def test_each_change_is_reported_once(state):
    times = ["23T09:59", "23T10:00", "23T10:01", "23T17:59", "23T18:00", "23T23:00", "24T10:00"]
    assert [state.update(at(time)) for time in times] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_it_says_when_it_opens(state):
    state.update(at("24T12:00"))
    assert str(state) == "open"
    state.update(at("24T20:00"))
    assert str(state) == "closed until Thu 26 Nov 2026, 10:00"


def test_only_what_the_clock_shows_now_counts(state):
    # It was wrong at the start, and is then set by the network, to either side.
    assert state.update(datetime.fromisoformat("1970-01-01T00:00+00:00"))
    assert not state.open
    assert state.update(at("24T12:00"))
    assert state.open
    assert state.update(at("22T12:00"))
    assert str(state) == "closed until Mon 23 Nov 2026, 10:00"


def test_other_hours_apply_from_the_next_update_on(state):
    state.update(at("22T12:00"))
    state.schedule = Schedule()
    assert state.update(at("22T12:00"))
    state.schedule = Schedule([], ["01-01..12-31"], ZONE)
    assert state.update(at("22T12:00"))
    assert str(state) == "closed"
