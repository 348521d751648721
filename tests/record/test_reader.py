import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from installation.record import store as storing
from installation.record.entry import Entry
from installation.record.reader import Period, open_readonly
from installation.record.store import RecordError, Store
from tests.mounts import own_mounts

BERLIN = ZoneInfo("Test/Berlin")


def entries(number):
    return [Entry(472222, "n10104064", 0.75, 1, "wall", "safe", "person-semantic")] * number


def count(path):
    with open_readonly(path) as database:
        return database.execute("SELECT count(*) FROM entry").fetchone()[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.sqlite"


@pytest.fixture
def closed(path):
    with closing(Store(path)) as store:
        store.add(entries(2000))
    return path


def complaint(path):
    with pytest.raises(RecordError) as caught:
        count(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_can_be_read_while_it_is_written(path):
    with closing(Store(path)) as store:
        for number in range(1, 4):
            store.add(entries(1))
            assert count(path) == number


def test_a_reader_blocks_nobody_and_sees_a_snapshot(path):
    with closing(Store(path)) as store:
        store.add(entries(1))
        with open_readonly(path) as database:
            database.execute("BEGIN")
            for _ in range(2):
                assert database.execute("SELECT count(*) FROM entry").fetchone() == (1,)
                store.add(entries(1))
    assert count(path) == 3


def test_nothing_can_be_written_through_it(closed):
    with pytest.raises(RecordError, match="readonly"), open_readonly(closed) as database:
        database.execute("DELETE FROM entry")
    assert count(closed) == 2000


def test_a_copy_in_a_place_where_nothing_can_be_written(closed, monkeypatch):
    # Root may write anywhere, so that it is said here.
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    before = sorted(closed.parent.iterdir())
    assert count(closed) == 2000
    assert sorted(closed.parent.iterdir()) == before


def test_a_record_of_an_older_version_is_migrated_for_reading(closed, monkeypatch):
    before = closed.read_bytes()
    addition = "ALTER TABLE entry ADD COLUMN wall TEXT NOT NULL DEFAULT 'west'"
    monkeypatch.setattr(storing, "MIGRATIONS", (*storing.MIGRATIONS, addition))
    with open_readonly(closed) as database:
        assert database.execute("SELECT DISTINCT wall FROM entry").fetchall() == [("west",)]
    assert closed.read_bytes() == before


def test_an_empty_file_is_an_empty_record(path):
    path.touch()
    assert count(path) == 0
    assert path.stat().st_size == 0


def test_a_missing_record_is_explained(path):
    assert "no such file; nothing has been recorded yet" in complaint(path)
    assert not path.exists()


def test_a_damaged_record_is_explained(closed):
    data = closed.read_bytes()
    closed.write_bytes(b"hello" * 1000)
    assert "not a database; the installation sets this file aside" in complaint(closed)
    closed.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordError, match="malformed"), open_readonly(closed) as database:
        database.execute("SELECT sum(seconds) FROM entry").fetchall()


def test_a_record_of_another_program_or_a_newer_version_is_explained(path, closed):
    with closing(sqlite3.connect(closed)) as database:
        database.execute("PRAGMA user_version = 99")
    assert "written by a newer version" in complaint(closed)
    closed.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE visitors (name TEXT)")
    assert "another program's database" in complaint(path)


def test_a_folder_is_not_a_record(path):
    path.mkdir()
    complaint(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_record_without_permission_is_explained(closed):
    closed.chmod(0)
    assert "Permission denied; run this with sudo" in complaint(closed)


@pytest.mark.parametrize(
    ("disk", "fill"), [("size=64k", "cat /dev/zero >disk/filler 2>/dev/null"), ("nr_inodes=2", ":")]
)
def test_on_a_full_disk_it_says_so(closed, disk, fill):
    with closing(sqlite3.connect(closed)) as database:
        database.execute("DELETE FROM entry WHERE rowid % 10")
        database.commit()
        database.execute("VACUUM")
    (closed.parent / "config.yaml").write_text("# all as it is\n")
    mount = f"mkdir disk && mount -t tmpfs -o {disk} none disk"
    script = f'{mount} && cp record.sqlite disk; {fill}; "$@"'
    program = [sys.executable, "-m", "installation", "record", "export"]
    ran = subprocess.run(
        [*own_mounts(), "sh", "-c", script, "sh", *program, "--record", "disk/record.sqlite"],
        cwd=closed.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    said = "installation: disk/record.sqlite: the disk is full; free some space on this disk\n"
    assert ran.stderr == said


def test_a_day_begins_at_midnight_in_the_room():
    day = date(2026, 11, 22)
    hours = Period(BERLIN, day, day).hours
    assert len(hours) == 24
    period = Period(BERLIN)
    assert period.local(hours[0]).isoformat() == "2026-11-22T00:00:00+01:00"
    assert period.local(hours[-1]).isoformat() == "2026-11-22T23:00:00+01:00"


@pytest.mark.parametrize(
    ("day", "zone", "length"),
    [
        (date(2026, 3, 29), BERLIN, 23),
        (date(2026, 10, 25), BERLIN, 25),
        # Midnight itself is left out, and comes twice.
        (date(2026, 9, 6), ZoneInfo("Test/Santiago"), 23),
        (date(2026, 11, 1), ZoneInfo("Test/Havana"), 25),
        (date(2026, 11, 1), timezone(timedelta(hours=5, minutes=30)), 24),
    ],
)
def test_days_have_as_many_hours_as_they_have_and_none_is_left_between(day, zone, length):
    hours = Period(zone, day, day).hours
    assert len(hours) == length
    assert {Period(zone).local(hour).date() for hour in hours} == {day}
    assert Period(zone, until=day - timedelta(days=1)).hours.stop == hours.start
    assert Period(zone, since=day + timedelta(days=1)).hours.start == hours.stop


def test_without_bounds_a_period_includes_everything():
    hours = Period(BERLIN).hours
    assert hours[0] == 0
    assert Period(BERLIN).local(hours[-1]).year > 9000
