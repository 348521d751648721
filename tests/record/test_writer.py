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
from installation.record.store import Store, count_rows
from installation.record.writer import RecordWriter, WriterTiming
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


# Retries at once, logs an error once, and waits for the disk when it closes.
TIMING = WriterTiming(0.01, 0.05, log_interval_s=10 * PATIENCE, close_timeout_s=PATIENCE)


def open_writer(path, keep_days=None, **timing):
    return RecordWriter(path, keep_days, replace(TIMING, **timing))


@pytest.fixture(autouse=True)
def log_everything(caplog):
    caplog.set_level(logging.INFO, logger="installation.record")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.sqlite"


def messages(caplog):
    return [record.message for record in caplog.records]


def test_entries_are_written_while_it_runs(path, caplog):
    writer = open_writer(path)
    writer.submit(entries(3))
    wait(lambda: not writer.pending)
    assert count_rows(path) == 3
    writer.submit(entries(2))
    writer.close()
    assert count_rows(path) == 5
    assert writer.error is None and messages(caplog) == []


def test_closing_writes_pending_entries_and_ends_the_thread(path):
    writer = open_writer(path)
    writer.submit(entries(900))
    writer.close()
    assert count_rows(path) == 900
    assert "record" not in [thread.name for thread in threading.enumerate()]


def test_submitting_no_entries_writes_none(path):
    writer = open_writer(path)
    writer.submit([])
    writer.close()
    assert count_rows(path) == 0


def test_many_threads_may_submit(path):
    writer = open_writer(path)

    def visit():
        for _ in range(50):
            writer.submit(entries(1))

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    writer.close()
    assert count_rows(path) == 200


def test_a_missing_folder_is_waited_for(tmp_path, caplog):
    path = tmp_path / "disk" / "record.sqlite"
    writer = open_writer(path)
    writer.submit(entries(4))
    wait(lambda: writer.error)
    assert str(path) in writer.error and "\n" not in writer.error
    time.sleep(0.3)
    # Tried again many times, and said once.
    assert messages(caplog) == [writer.error]
    path.parent.mkdir()
    wait(lambda: writer.error is None)
    writer.close()
    assert count_rows(path) == 4
    assert messages(caplog)[1:] == [f"{path}: recording resumed"]


def test_an_error_that_lasts_is_logged_again(tmp_path, caplog):
    writer = open_writer(tmp_path / "nowhere" / "record.sqlite", log_interval_s=0.05)
    wait(lambda: len(caplog.records) >= 3)
    writer.close()
    assert {record.levelname for record in caplog.records} == {"ERROR"}


def test_an_error_that_comes_and_goes_is_not_logged_each_time(path, caplog):
    writer = open_writer(path)
    for _ in range(3):
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as other:
            other.execute("BEGIN IMMEDIATE")
            writer.submit(entries(1))
            wait(lambda: writer.error)
            other.rollback()
        wait(lambda: writer.error is None)
    writer.close()
    assert count_rows(path) == 3
    assert len(caplog.records) == 2


def test_a_record_that_is_damaged_meanwhile_is_set_aside(path, caplog):
    writer = open_writer(path)
    writer.submit(entries(3))
    wait(lambda: not writer.pending)
    # What a failing disk may do to a file that is open.
    for part in ("", "-wal", "-shm"):
        with path.with_name(path.name + part).open("r+b") as file:
            file.write(b"\xa5" * 40_000)
    writer.submit(entries(2))
    wait(lambda: not writer.pending)
    writer.close()
    assert count_rows(path) == 2
    assert list(path.parent.glob("*.damaged-*"))
    assert any("set aside" in line for line in messages(caplog))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_record_that_is_moved_away_is_started_afresh(path, replaced):
    writer = open_writer(path)
    writer.submit(entries(3))
    wait(lambda: not writer.pending)
    path.rename(path.with_name("last-year.sqlite"))
    if replaced:
        Store(path).close()
    writer.submit(entries(2))
    wait(lambda: not writer.pending)
    writer.close()
    assert count_rows(path) == 2


def test_a_newer_record_is_reported_and_not_written_to(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA application_id = 0x726F756C")
        database.execute("PRAGMA user_version = 99")
    writer = open_writer(path)
    writer.submit(entries(1))
    wait(lambda: writer.error)
    assert "newer version" in writer.error
    writer.close()


class HangingStore:
    """A disk that hangs until the test lets it respond."""

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


def test_a_hanging_disk_blocks_nobody(path, caplog, hanging):
    writer = open_writer(path)
    for _ in range(1500):
        writer.submit(entries(1))
    wait(lambda: writer.error)
    assert writer.error.startswith(f"{path}: ") and "entries lost" in writer.error
    assert writer.pending == 1000
    assert len(caplog.records) == 1
    hanging.answers.set()
    wait(lambda: writer.error is None)
    assert writer.pending == 0
    writer.close()


def test_a_hanging_disk_does_not_delay_closing(path, caplog, hanging):
    writer = open_writer(path, close_timeout_s=1.0)
    writer.submit(entries(7))
    writer.close()
    # It hangs still, and does so for longer than anybody would wait.
    assert not hanging.answers.is_set()
    assert messages(caplog) == [f"{path}: 7 entries lost at closing"]


def test_on_a_full_or_read_only_disk_it_pauses_and_resumes(tmp_path):
    command = [*own_mounts(), sys.executable, "-m", "tests.record.small_disk", str(tmp_path)]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    path = tmp_path / "record.sqlite"
    assert seen["while empty"] is None
    assert seen["while full"].startswith(f"recording paused: {path}: ")
    assert "free some space on this disk" in seen["while full"]
    # That it pauses, and perhaps that it goes on, each time that it may be said.
    assert seen["lines while full"] <= 2 * seen["times to say so"]
    assert seen["last line"] == f"{path}: recording resumed"
    assert "give this user write permission" in seen["while read-only"]
    assert seen["safe in the end"]
    assert seen["aside"] == []


def hours(path):
    with closing(sqlite3.connect(path)) as database:
        return [hour for (hour,) in database.execute("SELECT hour FROM entry ORDER BY hour")]


def test_expired_rows_are_deleted_at_opening_and_every_hour(path, caplog):
    now = hour_of(time.time())
    with closing(Store(path)) as store:
        # So that this is how it has been kept.
        Expiry(path, 30).sweep(store, time.time())
        ages = [24 * 30 + 2, 24 * 30 + 1, 24 * 30 - 1, 1]
        store.add([replace(entries(1)[0], hour=now - age) for age in ages])
    writer = open_writer(path, keep_days=30, expire_interval_s=0.05)
    wait(lambda: len(hours(path)) == 2)
    writer.submit([replace(entries(1)[0], hour=now - 24 * 365)])
    wait(lambda: not writer.pending)
    wait(lambda: hours(path) == [now - (24 * 30 - 1), now - 1])
    writer.close()
    first, second = messages(caplog)
    assert first.startswith(f"{path}: 2 words from before ")
    assert second.startswith(f"{path}: 1 word from before ")


def test_without_a_limit_all_rows_are_kept(path):
    for _ in range(2):
        writer = open_writer(path)
        writer.submit([replace(entries(1)[0], hour=1)])
        writer.close()
    assert count_rows(path) == 2
