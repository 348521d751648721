import os
import random
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace

import pytest

from installation.record import store as storing
from installation.record.entry import Entry
from installation.record.store import RecordError, Store, count_rows


def entries(number, first=0):
    return [
        Entry(472222, "n10104064", 0.75, first + each, "wall", "safe", "person-semantic")
        for each in range(number)
    ]


def rows(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT * FROM entry ORDER BY seconds").fetchall()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.sqlite"


@pytest.fixture
def full(path):
    """A record of many pages, closed."""
    with closing(Store(path)) as store:
        store.add(entries(3000))
    return path


def aside(path):
    """What was set aside, but for what SQLite made for itself in order to look at it."""
    found = sorted(path.parent.glob("*.damaged-*"))
    return [each for each in found if not each.name.endswith("-shm") and each.stat().st_size]


def test_rows_are_there_when_it_is_opened_again(path):
    for first in range(0, 30, 10):
        with closing(Store(path)) as store:
            store.add(entries(10, first))
    assert [row[3] for row in rows(path)] == list(range(30))
    assert rows(path)[7][:-1] == (472222, "n10104064", 0.75, 7, "wall", "safe", "person-semantic")
    assert count_rows(path) == 30


def test_they_are_written_to_outlast_a_power_cut(path):
    with closing(Store(path)) as store:
        store.add(entries(1))
        # Another connection sees what the file says of itself.
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_rows_can_be_counted_while_others_are_written(path):
    with closing(Store(path)) as store:
        for number in range(1, 4):
            store.add(entries(1))
            assert count_rows(path) == number


def test_errors_of_counting_are_explained(path):
    with pytest.raises(RecordError, match=r"record\.sqlite: unable to open"):
        count_rows(path)
    path.write_bytes(b"no database at all, but long enough to be looked at" * 20)
    with pytest.raises(RecordError, match="not a database"):
        count_rows(path)


def test_only_its_owner_and_group_may_read_it(path):
    with closing(Store(path)) as store:
        store.add(entries(1))
        for each in path.parent.iterdir():
            assert stat.S_IMODE(each.stat().st_mode) & 0o137 == 0, each


def test_a_file_that_is_no_database_is_set_aside(path, caplog):
    garbage = random.Random(0).randbytes(50_000)
    path.write_bytes(garbage)
    with closing(Store(path)) as store:
        store.add(entries(3))
    assert count_rows(path) == 3
    (kept,) = aside(path)
    assert kept.read_bytes() == garbage
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(f"{path}: damaged (") and str(kept) in line


def _zeroed(data):
    middle = len(data) // 2 // 4096 * 4096
    return data[:middle] + bytes(4096) + data[middle + 4096 :]


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda data: data[: len(data) // 2 + 100], id="truncated"),
        pytest.param(lambda data: data[:10], id="cut to nearly nothing"),
        pytest.param(_zeroed, id="a page zeroed"),
        pytest.param(lambda data: bytes(len(data)), id="all zeroed"),
        pytest.param(lambda data: b"X" + data[1:], id="first byte wrong"),
        pytest.param(lambda data: data.replace(b"hour INT", b"hour \xff\xfe,", 1), id="its schema"),
        pytest.param(lambda data: data[:47] + b"\x09" + data[48:], id="its format"),
    ],
)
def test_a_damaged_record_is_set_aside_and_a_new_one_begun(full, caplog, harm):
    damaged = harm(full.read_bytes())
    full.write_bytes(damaged)
    with closing(Store(full)) as store:
        store.add(entries(2))
    assert count_rows(full) == 2
    assert [each.read_bytes() for each in aside(full)] == [damaged]
    assert len(caplog.records) == 1


def test_the_journal_of_a_damaged_record_is_set_aside_too(path):
    store = Store(path)
    store.add(entries(5))
    wal = path.with_name("record.sqlite-wal").read_bytes()
    assert wal
    # As a crash leaves it.
    other = path.with_name("crashed.sqlite")
    other.write_bytes(b"garbage" * 1000)
    other.with_name("crashed.sqlite-wal").write_bytes(wal)
    store.close()
    with closing(Store(other)) as store:
        store.add(entries(1))
    # Byte for byte: SQLite was kept from working them into each other.
    assert [each.read_bytes() for each in aside(other)] == [b"garbage" * 1000, wal]
    assert [each.name[-4:] == "-wal" for each in aside(other)] == [False, True]
    assert count_rows(other) == 1


def test_rows_that_a_lost_file_leaves_in_its_journal_are_kept(path):
    store = Store(path)
    store.add(entries(5))
    other = path.with_name("crashed.sqlite")
    other.touch()
    wal = path.with_name("record.sqlite-wal").read_bytes()
    other.with_name("crashed.sqlite-wal").write_bytes(wal)
    store.close()
    Store(other).close()
    assert wal in [each.read_bytes() for each in aside(other)]


def test_nothing_set_aside_is_ever_overwritten(path, monkeypatch):
    monkeypatch.setattr(storing.time, "strftime", lambda _form: "20261224-180000")
    for time in range(3):
        path.write_bytes(f"garbage number {time}".encode() * 100)
        Store(path).close()
    assert [each.name for each in aside(path)] == [
        "record.sqlite.damaged-20261224-180000",
        "record.sqlite.damaged-20261224-180000-2",
        "record.sqlite.damaged-20261224-180000-3",
    ]


def test_any_damage_either_opens_or_is_explained(full):
    data = full.read_bytes()
    chance = random.Random(0)
    for _ in range(200):
        harmed = bytearray(data)
        first = chance.choice([chance.randrange(100), chance.randrange(len(data))])
        length = min(chance.choice([1, 10, 5000]), len(data) - first)
        harmed[first : first + length] = chance.choice([bytes, chance.randbytes])(length)
        full.write_bytes(harmed)
        try:
            with closing(Store(full)) as store:
                store.add(entries(1))
        except RecordError as error:
            assert str(error).startswith(f"{full}: ") and "\n" not in str(error)
        for each in full.parent.iterdir():
            each.unlink()


def test_a_newer_version_is_left_alone(full):
    with closing(sqlite3.connect(full)) as database:
        database.execute("PRAGMA user_version = 99")
    before = full.read_bytes()
    with pytest.raises(RecordError) as caught:
        Store(full)
    assert str(caught.value).startswith(f"{full}: written by a newer version")
    assert "\n" not in str(caught.value)
    assert full.read_bytes() == before and aside(full) == []


def test_another_programs_database_is_left_alone(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE visitors (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(RecordError, match=r"record\.file"):
        Store(path)
    assert path.read_bytes() == before


def test_an_older_version_is_brought_up_to_date(full, monkeypatch):
    addition = "ALTER TABLE entry ADD COLUMN wall TEXT NOT NULL DEFAULT ''"
    monkeypatch.setattr(storing, "MIGRATIONS", (*storing.MIGRATIONS, addition))
    for _ in range(2):
        with closing(Store(full)) as store:
            store.add(entries(1))
    assert count_rows(full) == 3002
    assert rows(full)[0][-1] == ""


def test_a_step_that_fails_changes_nothing(full, monkeypatch):
    steps = (*storing.MIGRATIONS, "ALTER TABLE entry ADD COLUMN wall TEXT", "NO SUCH THING")
    monkeypatch.setattr(storing, "MIGRATIONS", steps)
    with pytest.raises(RecordError, match="syntax error"):
        Store(full)
    monkeypatch.undo()
    with closing(Store(full)) as store:
        store.add(entries(1))
    assert len(rows(full)[0]) == 8


def test_a_batch_is_written_whole_or_not_at_all(path):
    wrong = Entry(472222, None, 0.75, 1, "wall", "safe", "person-semantic")
    store = Store(path)
    with pytest.raises(RecordError):
        store.add([*entries(2), wrong])
    store.close()
    assert count_rows(path) == 0


def test_a_program_that_locks_the_record_is_not_waited_for_long(path):
    with closing(Store(path)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RecordError, match="locked"):
            store.add(entries(1))
        other.rollback()
        store.add(entries(1))
    assert count_rows(path) == 1


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"missing/record\.sqlite: No such file or directory; "):
        Store(tmp_path / "missing" / "record.sqlite")


def test_a_folder_in_its_place_is_named(path):
    path.mkdir()
    with pytest.raises(RecordError, match="a folder, not a file"):
        Store(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_may_not_be_written_is_named(full):
    full.chmod(0o440)
    with pytest.raises(RecordError, match="Permission denied; give this user write permission"):
        Store(full)


def old_and_new(path):
    """A record in which half the entries come from an engine that is gone."""
    store = Store(path)
    store.add([replace(each, hour=100, engine="forgotten-engine") for each in entries(500)])
    store.add(entries(500))
    return store


def traces(path, what=b"forgotten-engine"):
    return [each.name for each in path.parent.iterdir() if what in each.read_bytes()]


def test_the_journal_stays_short(path):
    with closing(Store(path)) as store:
        for _ in range(500):
            store.add(entries(1))
            assert path.with_name("record.sqlite-wal").stat().st_size < 2**19


def test_deleted_rows_leave_no_trace_in_the_files(path):
    with closing(old_and_new(path)) as store:
        assert traces(path)
        store.delete_before(101)
        assert traces(path) == []
    assert traces(path) == []
    assert [row[0] for row in rows(path)] == [472222] * 500


def test_no_trace_is_left_of_rows_moved_before_they_were_deleted(path):
    with closing(Store(path)) as store:
        for hour in range(200):
            row = replace(entries(1)[0], hour=hour, engine=f"engine-of-the-hour-{hour:03}")
            store.add([row] * 20)
            store.delete_before(hour - 10)
            assert traces(path, b"engine-of-the-hour-%03d" % (hour - 11)) == []
        for hour in range(189):
            assert traces(path, b"engine-of-the-hour-%03d" % hour) == []


def test_rows_are_deleted_by_the_hour(path):
    with closing(old_and_new(path)) as store:
        store.delete_before(100)
        assert count_rows(path) == 1000
        store.delete_before(472222)
        assert count_rows(path) == 500


def test_a_reader_only_delays_a_deletion(path):
    with closing(old_and_new(path)) as store:
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM entry").fetchone() == (1000,)
            store.delete_before(101)
            assert reader.execute("SELECT count(*) FROM entry").fetchone() == (1000,)
        assert count_rows(path) == 500
        store.delete_before(101)
        assert traces(path) == []


def test_files_set_aside_are_deleted_when_all_in_them_is_expired(path):
    aside_long_ago = path.with_name("record.sqlite.damaged-19700105-040000")
    aside_now = path.with_name("record.sqlite.damaged-20261122-180000-wal")
    another = path.with_name("record.sqlite.backup")
    for each in (aside_long_ago, aside_now, another):
        each.touch()
    for each in (aside_long_ago, another):
        os.utime(each, (100 * 3600, 100 * 3600))
    with closing(Store(path)) as store:
        store.delete_before(101)
    assert not aside_long_ago.exists()
    assert aside_now.exists() and another.exists()
