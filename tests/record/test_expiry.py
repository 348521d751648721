"""Expired rows are deleted; those that a shorter setting deletes, a day after an announcement."""

import logging
import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from installation.record import writer as keeping
from installation.record.entry import Entry, hour_of
from installation.record.expiry import Expiry, announced_deletion
from installation.record.reader import open_readonly
from installation.record.store import Store, count_rows
from installation.record.writer import RecordWriter, WriterTiming
from tests.record.test_writer import wait

HOUR, DAY = 3600, 86_400
NOW = 1_790_000_000  # 2026-09-21
YEAR_2099 = 4_080_000_000
ENTRY = Entry(0, "n10104064", 0.5, 3, "wall", "safe", "person-semantic")
AGES = (400, 200, 100, 50, 40, 20, 10, 1)


class Record:
    """A record with words of so many days ago, and programs that look after it."""

    def __init__(self, path, caplog):
        self.path = path
        self.now = NOW
        self._caplog = caplog
        self._caplog.set_level(logging.INFO, logger="installation.record")
        with closing(Store(path)) as store:
            store.add(replace(ENTRY, hour=hour_of(NOW) - 24 * age) for age in AGES)

    def start(self, keep_days):
        """Start a program; return what makes it look, and what that logs."""
        expiry = Expiry(self.path, keep_days)

        def sweep(seconds=0):
            self.now += seconds
            self._caplog.clear()
            with closing(Store(self.path)) as store:
                expiry.sweep(store, self.now)
            return [each.message.removeprefix(f"{self.path}: ") for each in self._caplog.records]

        self.lines = sweep()
        return sweep

    def run(self, sweep, hours):
        """Let hours pass; return what is logged meanwhile."""
        return [line for _ in range(hours) for line in sweep(HOUR)]

    @property
    def ages(self):
        with closing(sqlite3.connect(self.path)) as database:
            rows = database.execute("SELECT hour FROM entry ORDER BY hour").fetchall()
        return tuple((hour_of(NOW) - hour) // 24 for (hour,) in rows)

    @property
    def announced(self):
        with open_readonly(self.path) as database:
            return announced_deletion(database)


@pytest.fixture
def record(tmp_path, caplog):
    return Record(tmp_path / "record.sqlite", caplog)


@pytest.fixture
def settled(record):
    """A record that has been kept to 365 days for a while."""
    sweep = record.start(365)
    record.run(sweep, 30)
    assert record.ages == AGES[1:]
    return record


def test_what_a_shorter_setting_deletes_is_announced_a_day_before(settled):
    sweep = settled.start(30)
    (line,) = settled.lines
    assert line.startswith("4 words from before 20")
    assert line.endswith("restore record.keep_days and restart before then")
    assert "will be deleted on" in line and "record.keep_days is 30" in line
    assert settled.announced.rows == 4 and settled.announced.at == settled.now + DAY
    assert settled.run(sweep, 23) == []
    assert settled.ages == AGES[1:]
    (line,) = settled.run(sweep, 1)
    assert line.startswith("4 words from before ") and line.endswith(
        "deleted because of record.keep_days"
    )
    assert settled.ages == (20, 10, 1) and settled.announced is None


def test_a_record_that_was_kept_whole_counts_as_shortened(record):
    sweep = record.start(365)
    assert "1 word from before" in record.lines[0]
    assert record.run(sweep, 23) == [] and record.ages == AGES
    assert len(record.run(sweep, 1)) == 1
    assert record.ages == AGES[1:]


def test_a_setting_that_kept_all_rows_for_a_while_counts_too(settled):
    settled.start(None)
    assert settled.lines == []
    settled.start(365)
    assert settled.lines == []
    settled.start(30)
    assert "4 words" in settled.lines[0]


def test_an_announcement_survives_restarts_and_is_repeated_at_each(settled):
    settled.start(30)
    first, at = settled.lines, settled.announced.at
    for _ in range(3):
        settled.now += 6 * HOUR
        sweep = settled.start(30)
        assert settled.lines == first and settled.announced.at == at
    assert settled.ages == AGES[1:]
    settled.run(sweep, 6)
    assert settled.ages == (20, 10, 1)


@pytest.mark.parametrize("back", [365, 1000, None])
def test_a_restored_setting_loses_nothing(settled, back):
    sweep = settled.start(30)
    settled.run(sweep, 20)
    sweep = settled.start(back)
    assert settled.lines == ["the announced deletion is cancelled"]
    assert settled.announced is None
    assert settled.run(sweep, 48) == []
    assert settled.ages == AGES[1:]


def test_a_setting_that_is_partly_restored_is_announced_again(settled):
    settled.run(settled.start(30), 20)
    sweep = settled.start(150)
    assert "1 word from before" in settled.lines[0]
    assert settled.run(sweep, 23) == []
    assert len(settled.run(sweep, 1)) == 1
    assert settled.ages == AGES[2:]


def test_the_previous_setting_applies_until_then(settled):
    with closing(Store(settled.path)) as store:
        store.add([replace(ENTRY, hour=hour_of(settled.now) - 24 * 365 + 5)])
    sweep = settled.start(30)
    assert "5 words" in settled.lines[0]
    (line,) = settled.run(sweep, 10)
    assert line.startswith("1 word from before")
    assert settled.ages == AGES[1:]


def test_a_setting_that_deletes_nothing_applies_at_once(settled):
    sweep = settled.start(250)
    assert settled.lines == []
    assert settled.run(sweep, 30) == []
    # What it deletes later is nothing new.
    assert len(settled.run(sweep, 24 * 60)) == 1
    assert settled.ages == AGES[2:]


def test_hourly_deletion_goes_on_without_announcement(settled):
    sweep = settled.start(365)
    lines = settled.run(sweep, 24 * 170)
    assert len(lines) == 1 and lines[0].startswith("1 word from before")
    assert settled.ages == AGES[2:]


def test_expired_rows_are_deleted_after_a_few_days_off(settled):
    lines = []
    for _ in range(60):
        settled.now += 3 * DAY
        settled.start(365)
        lines += settled.lines
    (line,) = lines
    assert line.startswith("1 word from before") and "deleted because" in line
    assert settled.ages == AGES[2:]


@pytest.mark.parametrize("keep_days", [30, 365])
def test_a_clock_in_the_far_future_deletes_nothing_before_a_day_has_passed(settled, keep_days):
    settled.run(settled.start(keep_days), 30)
    kept = settled.ages
    right, settled.now = settled.now, YEAR_2099
    sweep = settled.start(keep_days)
    (line,) = settled.lines
    assert line.startswith(f"{len(kept)} words from before 20")
    assert "the clock went from 2026-" in line and "correct it" in line
    assert settled.run(sweep, 20) == [] and settled.ages == kept
    # It is set right.
    settled.now = right + 20 * HOUR
    assert sweep() == ["the announced deletion is cancelled"]
    assert settled.run(sweep, 48) == [] and settled.ages == kept
    # And wrong again, however long after the first time.
    settled.now = YEAR_2099 + 10 * DAY
    assert len(sweep()) == 1 and settled.ages == kept


def test_a_clock_in_the_far_future_does_not_delete_what_was_just_announced(settled):
    sweep = settled.start(30)
    right, settled.now = settled.now, YEAR_2099
    (line,) = sweep()
    assert line.startswith("7 words") and settled.ages == AGES[1:]
    settled.now = right + HOUR
    (line,) = sweep()
    assert line.startswith("4 words") and settled.announced.at == settled.now + DAY
    assert settled.run(sweep, 23) == [] and settled.ages == AGES[1:]
    settled.run(sweep, 1)
    assert settled.ages == (20, 10, 1)


def test_a_machine_that_was_off_for_long_announces_and_catches_up(settled):
    settled.now += 200 * DAY
    sweep = settled.start(365)
    (line,) = settled.lines
    assert line.startswith("1 word from before") and "the clock went from" in line
    settled.run(sweep, 24)
    assert settled.ages == AGES[2:]


def test_a_machine_that_runs_one_day_a_week_deletes_what_it_announced(settled):
    for _ in range(30):
        settled.now += 7 * DAY
        sweep = settled.start(365)
        settled.run(sweep, 8)
    assert settled.ages == AGES[2:]
    # What is deleted was announced the week before.
    assert settled.announced is None


def test_a_clock_that_begins_in_1970_at_each_start_changes_nothing(settled):
    settled.start(30)
    at = settled.announced.at
    for _ in range(4):
        right, settled.now = settled.now, 0
        sweep = settled.start(30)
        assert sweep(HOUR) == [] and settled.lines == []
        settled.now = right
        settled.run(sweep, 6)
    assert settled.ages == (20, 10, 1) and at == NOW + 30 * HOUR + DAY


def test_a_clock_that_jumps_within_the_days_notice_deletes_what_was_announced_at_the_most(settled):
    sweep = settled.start(30)
    settled.now += 15 * DAY
    deleted, again = sweep()[::-1]
    assert deleted.startswith("4 words") and again.startswith("1 word from before")
    assert settled.ages == (20, 10, 1)


def test_a_clock_that_was_wrong_for_days_and_is_right_again(settled):
    settled.now = YEAR_2099
    sweep = settled.start(365)
    settled.run(sweep, 26)
    assert settled.ages == ()
    settled.now = NOW + 50 * HOUR
    with closing(Store(settled.path)) as store:
        store.add([replace(ENTRY, hour=hour_of(settled.now) - 24 * age) for age in (370, 5)])
    (line,) = sweep()
    assert line.startswith("1 word from before")
    settled.run(sweep, 25)
    assert settled.announced is None and len(settled.ages) == 1
    # From now on as ever.
    assert settled.run(sweep, 24 * 3) == []


def test_a_clock_that_is_put_back_deletes_nothing(settled):
    settled.now = 0
    sweep = settled.start(365)
    assert settled.run(sweep, 30) == [] and settled.ages == AGES[1:]


def test_of_two_programs_the_setting_of_the_one_started_last_counts(settled):
    web = settled.start(365)
    wall = settled.start(30)
    assert len(settled.lines) == 1
    # Put back on the wall, while the other went by it already; or not yet.
    assert settled.run(web, 3) == []
    assert settled.announced is not None
    other = settled.start(30)
    settled.start(365)
    assert settled.announced is None
    assert settled.run(other, 48) == [] and settled.run(wall, 48) == []
    assert settled.ages == AGES[1:]


def test_files_set_aside_are_announced_too(settled):
    with closing(Store(settled.path)) as store:
        store.delete_before(hour_of(NOW) - 24 * 99)
    aside = settled.path.with_name("record.sqlite.damaged-20260801-120000")
    aside.write_bytes(b"damaged")
    os.utime(aside, (NOW - 150 * DAY,) * 2)
    sweep = settled.start(120)
    assert "0 words" in settled.lines[0] and "1 file set aside as damaged" in settled.lines[0]
    settled.run(sweep, 23)
    assert aside.exists()
    settled.run(sweep, 2)
    assert not aside.exists()


def test_an_earlier_version_finds_its_record_unchanged(settled):
    settled.start(30)
    with closing(sqlite3.connect(settled.path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)
    assert count_rows(settled.path) == len(AGES) - 1


def test_the_writer_deletes_expired_rows_while_it_runs(record, monkeypatch, caplog):
    class Clock:
        time = staticmethod(lambda: record.now)
        monotonic = staticmethod(keeping.time.monotonic)

    monkeypatch.setattr(keeping, "time", Clock)
    caplog.clear()
    writer = RecordWriter(record.path, 30, WriterTiming(expire_interval_s=0.02))
    wait(lambda: caplog.records)
    assert caplog.records[0].levelname == "WARNING"
    assert caplog.records[0].message.startswith(f"{record.path}: 5 words from before ")
    record.now += DAY - HOUR
    writer.submit([replace(ENTRY, hour=hour_of(record.now))])
    wait(lambda: not writer.pending)
    assert count_rows(record.path) == len(AGES) + 1
    record.now += HOUR
    wait(lambda: count_rows(record.path) == 4)
    writer.close()
