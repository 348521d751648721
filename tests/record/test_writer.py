import json
import logging
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from installation.record import writer as keeping
from installation.record.entry import Entry, hour_of
from installation.record.errors import RecordError
from installation.record.expiry import Expiry
from installation.record.store import Store, count
from installation.record.writer import RecordWriter
from tests.mounts import own_mounts
from tests.paths import ROOT

# Seconds; far beyond what anything here takes, on the slowest of machines.
PATIENCE = 300


def entries(number):
    return [Entry(472222, "n10104064", 0.5, 3, "wall", "safe", "person-semantic")] * number


def wait(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def hurry(monkeypatch, caplog):
    monkeypatch.setattr(keeping, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(keeping, "_LAST_WAIT", 0.05)
    monkeypatch.setattr(keeping, "_LOG_EVERY", 10 * PATIENCE)
    monkeypatch.setattr(keeping, "_FAREWELL", PATIENCE)
    caplog.set_level(logging.INFO, logger="installation.record")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.sqlite"


def messages(caplog):
    return [record.message for record in caplog.records]


def test_what_is_kept_is_written_while_it_runs(path, caplog):
    keeper = RecordWriter(path)
    keeper.keep(entries(3))
    wait(lambda: not keeper.waiting)
    assert count(path) == 3
    keeper.keep(entries(2))
    keeper.close()
    assert count(path) == 5
    assert keeper.trouble is None and messages(caplog) == []


def test_closing_writes_what_waits_and_ends_the_thread(path):
    keeper = RecordWriter(path)
    keeper.keep(entries(900))
    keeper.close()
    assert count(path) == 900
    assert "record" not in [thread.name for thread in threading.enumerate()]


def test_keeping_nothing_is_nothing(path):
    keeper = RecordWriter(path)
    keeper.keep([])
    keeper.close()
    assert count(path) == 0


def test_many_threads_may_keep(path):
    keeper = RecordWriter(path)

    def visit():
        for _ in range(50):
            keeper.keep(entries(1))

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    keeper.close()
    assert count(path) == 200


def test_a_place_that_is_not_there_yet_is_waited_for(tmp_path, caplog):
    path = tmp_path / "disk" / "record.sqlite"
    keeper = RecordWriter(path)
    keeper.keep(entries(4))
    wait(lambda: keeper.trouble)
    assert str(path) in keeper.trouble and "\n" not in keeper.trouble
    time.sleep(0.3)
    # Tried again many times, and said once.
    assert messages(caplog) == [keeper.trouble]
    path.parent.mkdir()
    wait(lambda: keeper.trouble is None)
    keeper.close()
    assert count(path) == 4
    assert messages(caplog)[1:] == [f"{path}: recording goes on"]


def test_trouble_that_lasts_is_said_again(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(keeping, "_LOG_EVERY", 0.05)
    keeper = RecordWriter(tmp_path / "nowhere" / "record.sqlite")
    wait(lambda: len(caplog.records) >= 3)
    keeper.close()
    assert {record.levelname for record in caplog.records} == {"ERROR"}


def test_trouble_that_comes_and_goes_is_not_said_each_time(path, caplog):
    keeper = RecordWriter(path)
    for _ in range(3):
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as other:
            other.execute("BEGIN IMMEDIATE")
            keeper.keep(entries(1))
            wait(lambda: keeper.trouble)
            other.rollback()
        wait(lambda: keeper.trouble is None)
    keeper.close()
    assert count(path) == 3
    assert len(caplog.records) == 2


def test_a_record_that_is_damaged_meanwhile_is_set_aside(path, caplog):
    keeper = RecordWriter(path)
    keeper.keep(entries(3))
    wait(lambda: not keeper.waiting)
    # What a failing disk may do to a file that is open.
    for part in ("", "-wal", "-shm"):
        with path.with_name(path.name + part).open("r+b") as file:
            file.write(b"\xa5" * 40_000)
    keeper.keep(entries(2))
    wait(lambda: not keeper.waiting)
    keeper.close()
    assert count(path) == 2
    assert list(path.parent.glob("*.damaged-*"))
    assert any("set aside" in line for line in messages(caplog))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_record_that_is_taken_away_is_begun_anew(path, replaced):
    keeper = RecordWriter(path)
    keeper.keep(entries(3))
    wait(lambda: not keeper.waiting)
    path.rename(path.with_name("last-year.sqlite"))
    if replaced:
        Store(path).close()
    keeper.keep(entries(2))
    wait(lambda: not keeper.waiting)
    keeper.close()
    assert count(path) == 2


def test_a_newer_record_is_not_written_to_and_said_to_be_so(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA application_id = 0x726F756C")
        database.execute("PRAGMA user_version = 99")
    keeper = RecordWriter(path)
    keeper.keep(entries(1))
    wait(lambda: keeper.trouble)
    assert "newer version" in keeper.trouble
    keeper.close()


class HangingStore:
    """A disk that answers when it is told to."""

    answers = threading.Event()

    def __init__(self, path):
        pass

    def add(self, entries):
        if not self.answers.wait(PATIENCE):
            raise RecordError("gave up")

    @contextmanager
    def transaction(self):
        with closing(sqlite3.connect(":memory:")) as database:
            yield database

    def close(self):
        pass


@pytest.fixture
def hanging(monkeypatch):
    monkeypatch.setattr(keeping, "Store", HangingStore)
    HangingStore.answers = threading.Event()
    yield HangingStore
    HangingStore.answers.set()


def test_a_disk_that_hangs_holds_nobody_up(path, caplog, hanging):
    keeper = RecordWriter(path)
    for _ in range(1500):
        keeper.keep(entries(1))
    wait(lambda: keeper.trouble)
    assert keeper.trouble.startswith(f"{path}: ") and "entries lost" in keeper.trouble
    assert keeper.waiting == 1000
    assert len(caplog.records) == 1
    hanging.answers.set()
    wait(lambda: keeper.trouble is None)
    assert keeper.waiting == 0
    keeper.close()


def test_a_disk_that_hangs_is_not_waited_for_at_the_end(path, caplog, hanging, monkeypatch):
    monkeypatch.setattr(keeping, "_FAREWELL", 1.0)
    keeper = RecordWriter(path)
    keeper.keep(entries(7))
    keeper.close()
    # It hangs still, and does so for longer than anybody would wait.
    assert not hanging.answers.is_set()
    assert messages(caplog) == [f"{path}: 7 entries lost at closing"]


def test_on_a_disk_that_is_full_or_read_only_it_pauses_and_goes_on(tmp_path):
    command = [*own_mounts(), sys.executable, "-m", "tests.record.small_disk", str(tmp_path)]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    path = tmp_path / "record.sqlite"
    assert seen["while empty"] is None
    assert seen["while full"].startswith(f"recording pauses: {path}: ")
    assert "make room on this disk" in seen["while full"]
    # That it pauses, and perhaps that it goes on, each time that it may be said.
    assert seen["lines while full"] <= 2 * seen["times to say so"]
    assert seen["last line"] == f"{path}: recording goes on"
    assert "let this user write there" in seen["while read-only"]
    assert seen["safe in the end"]
    assert seen["aside"] == []


def hours(path):
    with closing(sqlite3.connect(path)) as database:
        return [hour for (hour,) in database.execute("SELECT hour FROM entry ORDER BY hour")]


def test_rows_that_are_too_old_go_at_opening_and_each_hour(path, monkeypatch, caplog):
    now = hour_of(time.time())
    with closing(Store(path)) as store:
        # So that this is how it has been kept.
        Expiry(path, 30).sweep(store, time.time())
        ages = [24 * 30 + 2, 24 * 30 + 1, 24 * 30 - 1, 1]
        store.add([replace(entries(1)[0], hour=now - age) for age in ages])
    monkeypatch.setattr(keeping, "_EXPIRE_INTERVAL_S", 0.05)
    keeper = RecordWriter(path, keep_days=30)
    wait(lambda: len(hours(path)) == 2)
    keeper.keep([replace(entries(1)[0], hour=now - 24 * 365)])
    wait(lambda: not keeper.waiting)
    wait(lambda: hours(path) == [now - (24 * 30 - 1), now - 1])
    keeper.close()
    first, second = messages(caplog)
    assert first.startswith(f"{path}: 2 words from before ")
    assert second.startswith(f"{path}: 1 word from before ")


def test_without_a_limit_all_is_kept(path):
    for _ in range(2):
        keeper = RecordWriter(path)
        keeper.keep([replace(entries(1)[0], hour=1)])
        keeper.close()
    assert count(path) == 2
