"""Opening hours beside a reference that knows no rule: it looks at the clock each minute."""

import random
from bisect import bisect_right
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from installation.supervision import hours as opening
from installation.supervision.hours import Schedule, check_closed, check_span, check_zone
from tests.zones import zone_file

UTC = timezone.utc
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(text, zone="Test/Berlin"):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def times(hours, start, number):
    """The next changes, as a clock in the room shows them."""
    found = []
    for _ in range(number):
        start = hours.next_change(start)
        found.append(f"{start:%a %d %b %H:%M}")
    return found


# The reference.


def clock(zone, year):
    """Minutes in UTC about a year, and what a clock shows in each, in minutes since 1970."""
    first = datetime(year - 1, 12, 20, tzinfo=UTC)
    moments = [first + minutes * MINUTE for minutes in range(385 * 1440)]
    shown = [moment.astimezone(zone).replace(tzinfo=UTC) for moment in moments[::15]]
    quarters = np.array([(each - EPOCH) // MINUTE for each in shown])
    # No clock was ever put forward or back but at a quarter of an hour.
    return moments, np.repeat(quarters, 15) + np.tile(np.arange(15), len(quarters))


def reference(moments, shown, spans, is_closed):
    """Whether it is open in each minute."""
    # What no clock shows is the first minute that shows more.
    reached = np.maximum.accumulate(shown)
    left = np.minimum.accumulate(shown[::-1])[::-1]
    is_open = np.zeros(len(moments), bool)
    for day in range(shown[0] // 1440, shown[-1] // 1440 + 2):
        today = date(1970, 1, 1) + timedelta(days=day)
        if is_closed(today):
            continue
        for weekdays, start, end in spans:
            if today.weekday() in weekdays:
                begins = np.searchsorted(reached, day * 1440 + start)
                ends = np.searchsorted(left, day * 1440 + end, side="right") - 1
                if shown[ends] != day * 1440 + end:
                    ends = np.searchsorted(reached, day * 1440 + end)
                is_open[begins:ends] = True
    return is_open


def _some_spans(chance):
    spans, texts = [], []
    for _ in range(chance.randrange(1, 5)):
        weekdays = {chance.randrange(7) for _ in range(chance.randrange(1, 8))}
        # Much of it at night, when clocks are changed.
        start, end = (chance.choice([0, 60, 90, 120, 150, 165, 180, 600, 1320]) for _ in range(2))
        start += chance.choice([0, 0, 7])
        end += 5 * (end == start)
        if chance.random() < 0.2:
            start, end = chance.choice([(0, 1440), (600, 1440), (1380, 60)])
        end += 1440 if end <= start else 0
        spans.append((weekdays, start, end))
        days = ",".join(DAYS[each] for each in weekdays)
        last = "24:00" if end == 1440 else f"{end % 1440 // 60:02}:{end % 60:02}"
        texts.append(f"{days} {start // 60:02}:{start % 60:02}-{last}")
    return spans, texts


def _some_closed(chance, year):
    texts, rules = [], []
    for _ in range(chance.randrange(4)):
        first = date(year, 1, 1) + timedelta(days=chance.randrange(360))
        last = first + timedelta(days=chance.randrange(9))
        match chance.randrange(4):
            case 0:
                texts.append(f"{first}")
                rules.append(lambda day, first=first: day == first)
            case 1:
                texts.append(f"{first}..{last}")
                rules.append(lambda day, first=first, last=last: first <= day <= last)
            case 2:
                texts.append(f"{first:%m-%d}")
                rules.append(lambda day, key=(first.month, first.day): (day.month, day.day) == key)
            case _:
                texts.append("12-24..01-02")
                rules.append(
                    lambda day: (day.month == 12 and day.day > 23) or (day.month, day.day) < (1, 3)
                )
    return texts, lambda day: any(rule(day) for rule in rules)


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("Test/Berlin", 2026),
        ("Test/New_York", 2028),
        ("Test/Lord_Howe", 2026),  # by half an hour
        ("Test/Kolkata", 2026),  # never, but half an hour off
        ("Test/Havana", 2026),  # at midnight
        ("Test/Cairo", 2026),  # at midnight, forward
        ("Test/Apia", 2011),  # left out a whole day
    ],
)
def test_every_change_of_a_year_is_where_the_clock_says(name, year):
    zone = ZoneInfo(name)
    moments, shown = clock(zone, year)
    chance = random.Random(name)
    for _ in range(10):
        spans, texts = _some_spans(chance)
        closed, is_closed = _some_closed(chance, year)
        is_open = reference(moments, shown, spans, is_closed)
        hours = Schedule(texts, closed, name)
        changes = [moments[index + 1] for index in np.flatnonzero(np.diff(is_open))]
        begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        expected = [each for each in changes if begin < each < end]
        found, now = [], begin
        while (now := hours.next_change(now)) is not None and now < end:
            found.append(now)
        assert found == expected, (texts, closed)
        for now in [*expected, *(chance.choice(moments[20_000:-20_000]) for _ in range(20))]:
            for near in (now - MINUTE, now):
                index = (near - moments[0]) // MINUTE
                assert hours.is_open(near) == is_open[index], (texts, closed, near)
                later = bisect_right(changes, near)
                if later < len(changes) and changes[later] < end:
                    assert hours.next_change(near) == changes[later], (texts, closed, near)


def test_a_week():
    hours = Schedule(["tue-fri 10:00-18:00", "sat,sun 11:00-20:00"], (), "Test/Berlin")
    assert times(hours, at("2026-06-01T12:00"), 12) == [
        *("Tue 02 Jun 10:00", "Tue 02 Jun 18:00", "Wed 03 Jun 10:00", "Wed 03 Jun 18:00"),
        *("Thu 04 Jun 10:00", "Thu 04 Jun 18:00", "Fri 05 Jun 10:00", "Fri 05 Jun 18:00"),
        *("Sat 06 Jun 11:00", "Sat 06 Jun 20:00", "Sun 07 Jun 11:00", "Sun 07 Jun 20:00"),
    ]


def test_the_first_moment_is_open_and_the_last_is_not():
    hours = Schedule(["mon 10:00-18:00"], (), "Test/Berlin")
    second = timedelta(microseconds=1)
    start, end = at("2026-06-01T10:00"), at("2026-06-01T18:00")
    assert [hours.is_open(each) for each in (start - second, start)] == [False, True]
    assert [hours.is_open(each) for each in (end - second, end)] == [True, False]
    assert hours.next_change(start) == end


def test_without_hours_it_is_always_open():
    hours = Schedule()
    assert hours.is_open(datetime.now(UTC)) and hours.next_change(datetime.now(UTC)) is None
    written_out = Schedule(["mon-sun 00:00-24:00"], (), "Test/Berlin")
    assert written_out.is_open(datetime.now(UTC))
    assert written_out.next_change(datetime.now(UTC)) is None


def test_without_hours_closed_days_are_closed_from_midnight_to_midnight():
    hours = Schedule((), ["12-25", "2026-12-31"], "Test/Berlin")
    assert times(hours, at("2026-06-01T12:00"), 5) == [
        *("Fri 25 Dec 00:00", "Sat 26 Dec 00:00", "Thu 31 Dec 00:00", "Fri 01 Jan 00:00"),
        "Sat 25 Dec 00:00",
    ]


def test_a_night_runs_to_its_end_though_the_day_it_ends_on_is_closed():
    hours = Schedule(["fri,sat 22:00-02:00"], ["2026-06-06"], "Test/Berlin")
    assert times(hours, at("2026-06-05T12:00"), 3) == [
        *("Fri 05 Jun 22:00", "Sat 06 Jun 02:00"),
        "Fri 12 Jun 22:00",
    ]


def test_days_that_touch_are_one_opening():
    hours = Schedule(["fri 18:00-24:00", "sat 00:00-02:00", "sat 01:00-03:00"], (), "Test/Berlin")
    assert times(hours, at("2026-06-05T12:00"), 2) == ["Fri 05 Jun 18:00", "Sat 06 Jun 03:00"]


def test_a_range_of_days_may_go_over_the_weekend():
    hours = Schedule(["sat-mon 10:00-11:00"], (), "Test/Berlin")
    assert times(hours, at("2026-06-05T12:00"), 6)[::2] == [
        *("Sat 06 Jun 10:00", "Sun 07 Jun 10:00"),
        "Mon 08 Jun 10:00",
    ]


def test_holidays_over_the_years_end():
    spans = ["mon-sun 10:00-18:00"]
    for closed in ("12-24..01-02", "2026-12-24..2027-01-02"):
        hours = Schedule(spans, [closed], "Test/Berlin")
        assert times(hours, at("2026-12-23T12:00"), 2) == ["Wed 23 Dec 18:00", "Sun 03 Jan 10:00"]
    assert times(Schedule(spans, ["12-24..01-02"], "Test/Berlin"), at("2027-12-23T19:00"), 1) == [
        "Mon 03 Jan 10:00"
    ]
    assert times(
        Schedule(spans, ["2026-12-24..2027-01-02"], "Test/Berlin"), at("2027-12-23T19:00"), 1
    ) == ["Fri 24 Dec 10:00"]


def test_a_leap_day_is_a_day():
    hours = Schedule((), ["02-29"], "Test/Berlin")
    assert times(hours, at("2026-06-01T12:00"), 2) == ["Tue 29 Feb 00:00", "Wed 01 Mar 00:00"]


def test_never_open_is_never():
    hours = Schedule(["mon 10:00-18:00"], ["01-01..12-31"])
    assert not hours.is_open(datetime.now(UTC)) and hours.next_change(datetime.now(UTC)) is None


def test_clocks_put_forward_shorten_the_night():
    # On 29 March 2026 2:00 becomes 3:00.
    hours = Schedule(["sat 22:00-04:00"], (), "Test/Berlin")
    start = hours.next_change(at("2026-03-28T12:00"))
    assert hours.next_change(start) - start == timedelta(hours=5)


def test_a_time_that_clocks_leave_out_is_the_moment_after():
    hours = Schedule(["sun 02:30-05:00"], (), "Test/Berlin")
    assert times(hours, at("2026-03-28T12:00"), 2) == ["Sun 29 Mar 03:00", "Sun 29 Mar 05:00"]
    hours = Schedule(["sun 00:00-02:30"], (), "Test/Berlin")
    assert times(hours, at("2026-03-28T12:00"), 2) == ["Sun 29 Mar 00:00", "Sun 29 Mar 03:00"]
    # Nothing is left of this one, that week.
    hours = Schedule(["sun 02:15-02:45"], (), "Test/Berlin")
    assert times(hours, at("2026-03-28T12:00"), 1) == ["Sun 05 Apr 02:15"]


def test_a_time_that_comes_twice_opens_at_the_first_and_closes_at_the_last():
    # On 25 October 2026 3:00 becomes 2:00.
    hours = Schedule(["sun 02:15-02:45"], (), "Test/Berlin")
    start = hours.next_change(at("2026-10-24T12:00"))
    end = hours.next_change(start)
    assert (start.isoformat(), end.isoformat()) == (
        "2026-10-25T02:15:00+02:00",
        "2026-10-25T02:45:00+01:00",
    )
    assert end - start == timedelta(hours=1, minutes=30)


def test_a_time_may_be_given_in_any_zone():
    hours = Schedule(["mon 10:00-18:00"], (), "Test/Kolkata")
    moment = datetime(2026, 6, 1, 4, 30, tzinfo=UTC)
    for zone in (UTC, ZoneInfo("Test/Berlin"), timezone(timedelta(hours=-9))):
        assert hours.is_open(moment.astimezone(zone))
        assert not hours.is_open(moment.astimezone(zone) - MINUTE)


def test_a_time_without_a_zone_is_rejected():
    with pytest.raises(ValueError, match="time zone"):
        Schedule().is_open(datetime(2026, 6, 1))  # noqa: DTZ001


def test_the_machines_zone_is_followed_when_it_is_changed(tmp_path, monkeypatch):
    local = tmp_path / "localtime"
    monkeypatch.setattr(opening, "_LOCALTIME", local)
    hours = Schedule(["mon 10:00-18:00"])
    noon = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    seen = {}
    for name in ("Test/Berlin", "Test/New_York", "Test/Kolkata"):
        path = tmp_path / name.replace("/", "-")
        path.write_bytes(zone_file(name))
        # As timedatectl does it: a link that is replaced.
        (tmp_path / "new").symlink_to(path)
        (tmp_path / "new").replace(local)
        seen[name] = hours.is_open(noon), f"{hours.next_change(noon):%H:%M %z}"
    assert seen == {
        "Test/Berlin": (True, "18:00 +0200"),
        "Test/New_York": (False, "10:00 -0400"),
        "Test/Kolkata": (True, "18:00 +0530"),
    }


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_machine_that_does_not_know_its_zone_goes_by_utc(tmp_path, monkeypatch, content):
    local = tmp_path / "localtime"
    if content is not None:
        local.write_bytes(content)
    monkeypatch.setattr(opening, "_LOCALTIME", local)
    hours = Schedule(["mon 10:00-18:00"])
    assert hours.is_open(datetime(2026, 6, 1, 10, 0, tzinfo=UTC))
    assert not hours.is_open(datetime(2026, 6, 1, 9, 59, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        *("mon-fri 10:00-18:00", "sat,sun 11:00-20:00", "fri 22:00-02:00", "tue 00:00-24:00"),
        *("Mon - Fri  9:00 - 18:00", "mon,wed-fri 10:00-18:00"),
    ],
)
def test_openings_are_understood(text):
    assert check_span(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "write days and two times"),
        ("mon", "write days and two times"),
        ("10:00-18:00", "write days and two times"),
        ("mon 10:00", "write days and two times"),
        ("mon 10-18", "'10' is not a time; write 00:00 to 24:00"),
        ("mon 10:00-25:00", "'25:00' is not a time"),
        ("mon 10:60-18:00", "'10:60' is not a time"),
        ("mon 10:00-24:01", "'24:01' is not a time"),
        ("mon 10:00-18:00-19:00", "'18:00-19:00' is not a time"),
        ("mon 24:00-02:00", "write 00:00 on the following day"),
        ("mon 10:00-10:00", "for the whole day write 00:00-24:00"),
        ("mnt 10:00-18:00", "'mnt' is not a day; write mon, tue"),
        ("mon-fry 10:00-18:00", "'fry' is not a day"),
        ("mon, 10:00-18:00", "'' is not a day"),
        ("mon-tue-wed 10:00-18:00", "'tue-wed' is not a day"),
    ],
)
def test_invalid_openings_say_what_would_be_valid(text, reason):
    for understand in (check_span, lambda text: Schedule([text])):
        with pytest.raises(ValueError, match=reason) as caught:
            understand(text)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["2026-12-24", "12-25", "02-29", "2026-12-24..2027-01-02", "12-24 .. 01-02"]
)
def test_closed_days_are_understood(text):
    assert check_closed(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "write 2026-12-24, or 12-24"),
        ("christmas", "write 2026-12-24, or 12-24"),
        ("24.12.2026", "write 2026-12-24, or 12-24"),
        ("2026-12-24..", "'' is not a day"),
        ("2026-24-12", "not in the calendar; write month before day"),
        ("25-12", "not in the calendar"),
        ("2026-02-29", "not in the calendar"),
        ("02-30", "not in the calendar"),
        ("2026-12-24..01-02", "on one side only"),
        ("2027-01-02..2026-12-24", "ends before it begins"),
    ],
)
def test_invalid_closed_days_say_what_would_be_valid(text, reason):
    for understand in (check_closed, lambda text: Schedule((), [text])):
        with pytest.raises(ValueError, match=reason) as caught:
            understand(text)
        assert "\n" not in str(caught.value)


def test_zones_are_understood():
    assert check_zone("Europe/Berlin") == "Europe/Berlin"
    assert check_zone("UTC") == "UTC"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Europe/Berlim", "did you mean Europe/Berlin"),
        ("CEST-2", "not a time zone"),
        ("", "not a time zone"),
        ("Europe", "not a time zone"),
        ("../../etc/passwd", "not a time zone"),
        ("/etc/localtime", "not a time zone"),
        ("Q", "such as Europe/Berlin"),
    ],
)
def test_invalid_zones_say_what_would_be_valid(name, reason):
    for understand in (check_zone, lambda name: Schedule((), (), name)):
        with pytest.raises(ValueError, match=reason) as caught:
            understand(name)
        assert "\n" not in str(caught.value)


def test_opening_and_closing_alternate():
    hours = Schedule(["mon-fri 10:00-18:00", "fri 22:00-02:00"], ["12-25"], "Test/New_York")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    states = []
    for _ in range(400):
        now = hours.next_change(now)
        states.append(hours.is_open(now))
    assert all(one != other for one, other in pairwise(states))
