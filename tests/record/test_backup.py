"""``installation record backup`` as its users run it, while the wall writes and when it cannot."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from installation.record.backup import back_up
from installation.record.entry import Entry
from installation.record.errors import RecordError
from installation.record.reader import open_readonly
from installation.record.store import Store, count_rows
from tests.mounts import own_mounts

ENTRY = Entry(472222, "n10104064", 0.5, 3, "wall", "safe", "person-semantic")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text("# all as it is\n")
    with closing(Store(tmp_path / "record.sqlite")) as store:
        store.add([ENTRY] * 1234)
    return tmp_path


def backup(folder, *arguments, under=()):
    return subprocess.run(
        [*under, sys.executable, "-m", "installation", "record", "backup", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def left_over(folder):
    return [each.name for each in folder.iterdir() if each.name.startswith(".")]


def test_it_is_one_file_that_can_be_used_as_a_record(folder):
    ran = backup(folder, "west.sqlite")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "west.sqlite: 1,234 words\n", "")
    copy = folder / "west.sqlite"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640
    assert sorted(each.name for each in folder.glob("west*")) == ["west.sqlite"]
    assert left_over(folder) == []
    with open_readonly(folder / "record.sqlite") as one, open_readonly(copy) as other:
        rows = "SELECT * FROM entry ORDER BY id"
        assert one.execute(rows).fetchall() == other.execute(rows).fetchall()
    with closing(Store(copy)) as store:
        store.add([ENTRY])
    assert (count_rows(copy), count_rows(folder / "record.sqlite")) == (1235, 1234)


def test_what_is_in_the_journal_alone_is_in_the_copy(folder):
    with closing(Store(folder / "record.sqlite")) as store:
        store.add([ENTRY])
        assert (folder / "record.sqlite-wal").stat().st_size
        assert back_up(folder / "record.sqlite", folder / "copy") == 1235
    assert count_rows(folder / "copy") == 1235


def test_a_backup_made_while_writing_is_a_snapshot(folder):
    record, stop = folder / "record.sqlite", threading.Event()

    def write():
        with closing(Store(record)) as store:
            while not stop.is_set():
                store.add([ENTRY] * 10)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = [back_up(record, folder / f"copy-{number}") for number in range(20)]
    finally:
        stop.set()
        writer.join()
    assert counts == sorted(counts)
    # Whole batches, none of them in part.
    assert all((rows - 1234) % 10 == 0 for rows in counts)
    assert all(count_rows(folder / f"copy-{number}") == rows for number, rows in enumerate(counts))


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_there_is_kept(folder, kind):
    to = folder / "there"
    if kind == "folder":
        to.mkdir()
    elif kind == "link":
        to.symlink_to("nowhere")
    else:
        to.write_text("precious")
    ran = backup(folder, "there")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == ("installation: there: already exists; give the copy another name\n")
    assert kind != "file" or to.read_text() == "precious"
    assert left_over(folder) == []


def test_of_another_record_no_config_is_needed(folder):
    (folder / "record.sqlite").rename(folder / "other.sqlite")
    (folder / "config.yaml").write_text("nonsense")
    ran = backup(folder, "copy", "--record", "other.sqlite")
    assert (ran.returncode, ran.stdout) == (0, "copy: 1,234 words\n")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.unlink(), "no such file; nothing has been recorded yet"),
        (lambda path: path.write_bytes(b"no database" * 1000), "file is not a database"),
        (lambda path: path.write_bytes(path.read_bytes()[:50_000]), "malformed"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "a pipe (FIFO), not a file"),
    ],
)
def test_what_is_no_record_leaves_no_copy(folder, harm, says):
    harm(folder / "record.sqlite")
    ran = backup(folder, "copy")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1 and says in ran.stderr
    assert not (folder / "copy").exists() and left_over(folder) == []


def test_a_backup_that_cannot_be_written_is_an_error(folder):
    ran = backup(folder, "nowhere/copy")
    assert ran.returncode == 1
    assert ran.stderr.startswith("installation: nowhere/copy: No such file or directory; name a")
    with pytest.raises(RecordError, match="File name too long"):
        back_up(folder / "record.sqlite", folder / ("x" * 300))
    assert left_over(folder) == []


def test_on_a_full_disk_nothing_is_left_of_it(folder):
    (folder / "disk").mkdir()
    script = 'mount -t tmpfs -o size=16k none disk && "$@"; left=$(ls -A disk); echo "left:$left"'
    ran = backup(folder, "disk/copy", under=(*own_mounts(), "sh", "-c", script, "sh"))
    assert "installation: disk/copy: database or disk is full; free some space there" in ran.stderr
    assert ran.stderr.count("\n") == 1 and ran.stdout == "left:\n"


def test_a_record_of_an_older_version_is_backed_up_as_one_of_this(folder):
    old = folder / "old.sqlite"
    with closing(sqlite3.connect(old)) as database:
        database.execute(
            "CREATE TABLE entry (hour INTEGER NOT NULL, wnid TEXT NOT NULL, confidence REAL NOT "
            "NULL, seconds INTEGER NOT NULL, source TEXT NOT NULL, policy TEXT NOT NULL, engine "
            "TEXT NOT NULL)"
        )
        database.execute("INSERT INTO entry VALUES (1, 'n10104064', 0.5, 3, 'wall', 'safe', 'e')")
        database.execute("PRAGMA application_id = 0x726F756C")
        database.execute("PRAGMA user_version = 1")
        database.commit()
    before = old.read_bytes()
    assert back_up(old, folder / "copy") == 1
    assert old.read_bytes() == before
    assert count_rows(folder / "copy") == 1
