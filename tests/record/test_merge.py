"""Many records summed: each row once, whatever happens to them in between."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from installation.record.entry import Entry
from installation.record.merge import merge
from installation.record.reader import open_readonly
from installation.record.store import RecordError, Store, count_rows
from tests.mounts import own_mounts
from tests.paths import ROOT

# What the first version wrote.
FIRST = """
    CREATE TABLE entry (hour INTEGER NOT NULL, wnid TEXT NOT NULL, confidence REAL NOT NULL,
        seconds INTEGER NOT NULL, source TEXT NOT NULL, policy TEXT NOT NULL, engine TEXT NOT NULL);
    PRAGMA application_id = 0x726F756C;
    PRAGMA user_version = 1;
    PRAGMA journal_mode = WAL;
"""


def entries(numbers, hour=472222, source="wall"):
    return [Entry(hour, "n10104064", 0.75, each, source, "safe", "e") for each in numbers]


def grow(path, numbers, **how):
    with closing(Store(path)) as store:
        store.add(entries(numbers, **how))


def rows(path):
    """Numbers of the rows in a record, as often as they are there."""
    with closing(sqlite3.connect(path)) as database:
        return Counter(number for (number,) in database.execute("SELECT seconds FROM entry"))


def first_version(path, numbers, hour=472222):
    with closing(sqlite3.connect(path)) as database:
        if not path.stat().st_size:
            database.executescript(FIRST)
        with database:
            database.executemany(
                "INSERT INTO entry VALUES (?, 'n10104064', 0.75, ?, 'wall', 'safe', 'e')",
                [(hour, each) for each in numbers],
            )


@pytest.fixture
def into(tmp_path):
    return tmp_path / "all.sqlite"


@pytest.fixture
def walls(tmp_path):
    paths = [tmp_path / f"{name}.sqlite" for name in ("west", "east", "web")]
    for number, path in enumerate(paths):
        grow(path, range(100 * number, 100 * number + 50))
    return paths


def new(into, *records):
    found = list(merge(into, records))
    assert [each.path for each in found] == list(records)
    assert not any(each.error for each in found)
    return [each.new for each in found]


def test_each_row_once_however_often_and_in_whatever_order(into, walls):
    assert new(into, *walls) == [50, 50, 50]
    assert new(into, *walls) == [0, 0, 0]
    assert new(into, *reversed(walls), walls[0]) == [0, 0, 0, 0]
    assert rows(into) == rows(walls[0]) + rows(walls[1]) + rows(walls[2])


def test_the_same_given_twice_at_first(into, walls):
    assert new(into, walls[0], walls[0]) == [50, 0]


def test_words_alike_are_not_the_same(into, tmp_path):
    paths = [tmp_path / "west.sqlite", tmp_path / "east.sqlite"]
    for path in paths:
        grow(path, [7] * 20)
    assert new(into, *paths) == [20, 20]
    assert rows(into) == {7: 40}


def test_rows_added_since_the_last_merge_are_merged(into, walls):
    new(into, *walls)
    grow(walls[1], [1000, 1001])
    assert new(into, *walls) == [0, 2, 0]


def test_rows_pruned_since_stay_in_the_target(into, tmp_path):
    wall = tmp_path / "wall.sqlite"
    grow(wall, range(10), hour=100)
    grow(wall, range(10, 20))
    new(into, wall)
    with closing(Store(wall)) as store:
        store.delete_before(101)
    grow(wall, [20])
    assert new(into, wall) == [1]
    assert rows(into) == Counter(range(21))
    # Not even when nothing was left of it.
    with closing(Store(wall)) as store:
        store.delete_before(10**6)
    grow(wall, [21])
    assert new(into, wall) == [1]


def test_another_name_and_another_form(into, walls, tmp_path):
    new(into, *walls)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = walls[0].rename(elsewhere / "old.sqlite")
    with closing(sqlite3.connect(moved)) as database:
        database.execute("VACUUM")
        script = "\n".join(database.iterdump())
    written = elsewhere / "written.sqlite"
    with closing(sqlite3.connect(written)) as database:
        database.executescript(script)
        database.execute("PRAGMA application_id = 0x726F756C")
        database.execute("PRAGMA user_version = 2")
    assert new(into, moved, written) == [0, 0]


def test_a_copy_that_lives_on_beside_the_first(into, walls, tmp_path):
    copy = tmp_path / "copy.sqlite"
    shutil.copy(walls[0], copy)
    grow(walls[0], [1000])
    grow(copy, [2000, 2001])
    assert new(into, walls[0], copy) == [51, 2]
    assert new(into, copy, walls[0]) == [0, 0]
    assert rows(into) == Counter([*range(50), 1000, 2000, 2001])


def test_merged_records_can_be_merged(into, walls, tmp_path):
    city = tmp_path / "city.sqlite"
    new(city, *walls[:2])
    assert new(into, walls[1], city, walls[2], city) == [50, 50, 50, 0]
    assert sum(rows(into).values()) == 150


def test_merged_rows_keep_their_content(into, tmp_path):
    wall, said = tmp_path / "wall.sqlite", Entry(5, "n1", 0.123, 9, "web", "full", "semantic")
    with closing(Store(wall)) as store:
        store.add([said])
    new(into, wall)
    with closing(sqlite3.connect(into)) as database:
        (row,) = database.execute("SELECT * FROM entry")
    assert row[:-1] == (5, "n1", 0.123, 9, "web", "full", "semantic")
    assert into.stat().st_mode & 0o137 == 0


def test_the_order_of_words_is_not_revealed(tmp_path):
    grow(tmp_path / "wall.sqlite", range(100))
    with open_readonly(tmp_path / "wall.sqlite") as database:
        found = [each for (each,) in database.execute("SELECT seconds FROM entry")]
    assert found != sorted(found) and sorted(found) == list(range(100))


def test_rows_in_the_journal_are_merged(into, tmp_path):
    wall = tmp_path / "wall.sqlite"
    with closing(Store(wall)) as store:
        for number in range(1, 4):
            store.add(entries([number]))
            assert wall.with_name("wall.sqlite-wal").stat().st_size
            assert new(into, wall) == [1]
        # And is not changed by it.
        before = wall.read_bytes()
        new(into, wall)
        assert wall.read_bytes() == before


def test_a_record_in_a_read_only_folder_can_be_merged(into, walls, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    before = sorted(walls[0].parent.iterdir())
    assert new(into, walls[0]) == [50]
    assert sorted(walls[0].parent.iterdir()) == sorted([*before, into])
    assert new(into, walls[0]) == [0]


def test_a_first_version_record_merges_with_its_migrated_copy_once(into, tmp_path):
    wall, backup = tmp_path / "wall.sqlite", tmp_path / "backup.sqlite"
    # Words alike too, and some that are gone.
    first_version(wall, [1, 1, 1, 2, 3], hour=100)
    first_version(wall, [*range(10, 30), 10, 10])
    shutil.copy(wall, backup)
    before = wall.read_bytes()
    assert new(into, wall) == [27]
    assert wall.read_bytes() == before
    first_version(wall, [40])
    assert new(into, wall) == [1]
    with closing(Store(wall)) as store:
        store.add(entries([41]))
        store.delete_before(101)
    assert new(into, backup, wall) == [0, 1]
    Store(backup).close()
    assert new(into, backup) == [0]
    assert rows(into) == Counter([1, 1, 1, 2, 3, *range(10, 30), 10, 10, 40, 41])


def test_what_is_brought_into_the_new_form_leaves_no_trace_of_what_is_forgotten_later(tmp_path):
    wall = tmp_path / "wall.sqlite"
    with closing(sqlite3.connect(wall)) as database:
        database.executescript(FIRST)
        with database:
            database.executemany(
                "INSERT INTO entry VALUES (100, 'n10104064', 0.75, ?, 'wall', 'safe', 'gone-one')",
                [(each,) for each in range(3000)],
            )
    with closing(Store(wall)) as store:
        store.delete_before(101)
        for path in tmp_path.iterdir():
            assert b"gone-one" not in path.read_bytes(), path


def complaints(into, *records):
    return [each.error for each in merge(into, records)]


def _damaged(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _deep(path):
    """Only a look at every page tells that it is damaged."""
    with closing(sqlite3.connect(path)) as database:
        (root,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'entry'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek(size * root)
        file.write(bytes(size))


def _newer(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


def _foreign(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE visitors (name TEXT)")


def _folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_damaged, "malformed"),
        (_deep, ""),
        (lambda path: path.write_text("no database" * 100), "not a database"),
        (_newer, "written by a newer version"),
        (_foreign, "another program's database"),
        (Path.unlink, "no such file"),
        (_folder, ""),
    ],
)
def test_a_record_that_cannot_be_merged_is_reported_and_the_others_are_merged(
    into, walls, harm, says
):
    grow(walls[1], range(100, 20_000))
    new(into, walls[0])
    grow(walls[0], [5000])
    harm(walls[1])
    before = walls[1].read_bytes() if walls[1].is_file() else None
    first, second, third = complaints(into, *walls)
    assert first is third is None
    assert second.startswith(f"{walls[1]}: ") and says in second and "\n" not in second
    # Nothing of it: not what could be read before the fault was met either.
    assert rows(into) == rows(walls[0]) + rows(walls[2])
    assert (walls[1].read_bytes() if walls[1].is_file() else None) == before
    assert not list(into.parent.glob("*.damaged-*"))


def test_an_empty_one_adds_nothing(into, walls, tmp_path):
    (tmp_path / "empty.sqlite").touch()
    Store(tmp_path / "young.sqlite").close()
    assert new(into, tmp_path / "empty.sqlite", walls[0], tmp_path / "young.sqlite") == [0, 50, 0]
    assert (tmp_path / "empty.sqlite").stat().st_size == 0


def test_rows_that_have_changed_are_reported_and_skipped(into, walls):
    new(into, *walls)
    with closing(sqlite3.connect(walls[0])) as database, database:
        database.execute("UPDATE entry SET seconds = 7000 WHERE seconds < 3")
    grow(walls[0], [8000])
    first, *others = merge(into, walls)
    assert "3 of its rows have changed since they were merged" in first.error
    assert (first.rows, first.new) == (51, 1)
    assert not any(each.error for each in others)
    assert rows(into) == Counter([*range(50), *range(100, 150), *range(200, 250), 8000])


@pytest.mark.parametrize("way", ["itself", "link", "hard link", "roundabout", "before it is there"])
def test_a_sum_is_not_merged_into_itself(into, walls, way, tmp_path, monkeypatch):
    if way != "before it is there":
        new(into, walls[0])
    alias = tmp_path / "alias.sqlite"
    if way == "link":
        alias.symlink_to(into)
    elif way == "hard link":
        alias.hardlink_to(into)
    elif way == "roundabout":
        monkeypatch.chdir(tmp_path)
        alias = Path("..") / tmp_path.name / into.name
    else:
        alias = into
    with pytest.raises(RecordError, match="cannot be merged into itself"):
        list(merge(into, [walls[1], alias]))
    if way == "before it is there":
        assert not into.exists()
    else:
        assert rows(into) == rows(walls[0])


@pytest.mark.parametrize("harm", [_damaged, _newer, _foreign, _folder])
def test_a_sum_that_cannot_be_written_to_is_left_as_it_is(into, walls, harm):
    new(into, walls[0])
    harm(into)
    before = into.read_bytes() if into.is_file() else None
    with pytest.raises(RecordError) as caught:
        list(merge(into, walls))
    assert str(caught.value).startswith(f"{into}: ") and "\n" not in str(caught.value)
    assert (into.read_bytes() if into.is_file() else None) == before
    assert not list(into.parent.glob("*.damaged-*"))


def test_a_sum_that_another_program_writes_to_is_waited_for(into, walls):
    new(into, walls[0])
    with closing(sqlite3.connect(into)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RecordError, match=r"all\.sqlite: database is locked; stop the other"):
            list(merge(into, walls, lock_timeout_s=0.1))
    assert new(into, *walls) == [0, 50, 50]


MERGE = """
import sys
from pathlib import Path
from installation.record.merge import merge
into, *records = map(Path, sys.argv[1:])
print("begun", flush=True)
for each in merge(into, records):
    assert each.error is None, each
"""


def merging_process(into, records):
    return subprocess.Popen(
        [sys.executable, "-c", MERGE, str(into), *map(str, records)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )


def test_killed_at_any_moment_and_run_again(into, tmp_path):
    chance = random.Random(3)
    walls = [tmp_path / f"{number}.sqlite" for number in range(4)]
    expected = Counter()
    for number, wall in enumerate(walls):
        numbers = range(10**6 * number, 10**6 * number + 15_000)
        grow(wall, numbers)
        expected.update(numbers)
    interrupted = 0
    for _ in range(12):
        process = merging_process(into, walls)
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        process.stdout.close()
        interrupted += process.wait() != 0
        if into.exists() and into.stat().st_size:
            with closing(sqlite3.connect(into)) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            # Of each all or nothing.
            assert count_rows(into) % 15_000 == 0
        if interrupted > 6:
            interrupted = 0
            for part in ("", "-wal", "-shm"):
                into.with_name(into.name + part).unlink(missing_ok=True)
    list(merge(into, walls))
    assert rows(into) == expected


def test_two_at_once_into_one_that_is_not_there_yet(into, walls):
    processes = [merging_process(into, records) for records in (walls, walls[::-1], walls[1:])]
    for process in processes:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(300) == 0
    assert rows(into) == rows(walls[0]) + rows(walls[1]) + rows(walls[2])


WRITE = """
import sys
from pathlib import Path
from installation.record.entry import Entry
from installation.record.store import Store
store = Store(Path(sys.argv[1]))
print("begun", flush=True)
for number in range(400):
    store.add([Entry(472222, "n10104064", 0.5, number, "wall", "safe", "e")])
"""


def test_a_record_is_merged_while_it_is_being_written(into, tmp_path):
    wall = tmp_path / "wall.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(wall)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    writer.stdout.readline()
    while writer.poll() is None:
        list(merge(into, [wall]))
    writer.stdout.close()
    assert writer.returncode == 0
    list(merge(into, [wall]))
    assert rows(into) == Counter(range(400))


READ_ONLY = """
import shutil, subprocess, sys
from pathlib import Path
from installation.record.entry import Entry
from installation.record.merge import merge
from installation.record.store import Store
disk, into = Path(sys.argv[1]), Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
store = Store(disk / "closed.sqlite")
store.add([Entry(472222, "n10104064", 0.5, 7, "wall", "safe", "e")] * 5)
for part in ("", "-wal"):
    shutil.copy(disk / f"closed.sqlite{part}", disk / f"crashed.sqlite{part}")
store.close()
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
for _ in range(2):
    for each in merge(into, [disk / "crashed.sqlite", disk / "closed.sqlite"]):
        print(each.new, each.error)
"""


def test_on_a_disk_that_is_read_only(into, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    ran = subprocess.run(
        [*own_mounts(), sys.executable, "-c", READ_ONLY, str(disk), str(into)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    crashed, closed, *again = ran.stdout.splitlines()
    assert closed == "5 None" and again == [crashed, "0 None"]
    # What was in its journal alone is not left out in silence.
    assert "crashed.sqlite: unable to open" in crashed and "to a folder you may write to" in crashed


class Fleet:
    """Walls that grow, are pruned and copied, and sums of them; and what they should come to."""

    def __init__(self, folder, chance):
        self.folder, self.chance = folder, chance
        self.numbers = iter(range(10**9))
        # By path: hour by number of each row that is, or should be, there.
        self.walls = {}
        self.sums = {folder / f"sum-{number}.sqlite": {} for number in range(2)}
        self.open = {}
        for _ in range(3):
            self.begin()

    def begin(self):
        path = self.folder / f"wall-{next(self.numbers)}.sqlite"
        self.walls[path] = {}
        if self.chance.random() < 0.3:
            first_version(path, [])
        else:
            Store(path).close()

    def store(self, path):
        if path not in self.open:
            self.open[path] = Store(path)
        return self.open[path]

    def shut(self, path):
        if path in self.open:
            self.open.pop(path).close()

    def grow(self, path):
        rows = {next(self.numbers): self.chance.randrange(100, 110) for _ in range(3)}
        self.walls[path] |= rows
        if path not in self.open and self.version(path) == 1 and self.chance.random() < 0.6:
            for number, hour in rows.items():
                first_version(path, [number], hour)
        else:
            self.store(path).add(entries([each], hour)[0] for each, hour in rows.items())

    def version(self, path):
        with closing(sqlite3.connect(path)) as database:
            return database.execute("PRAGMA user_version").fetchone()[0]

    def prune(self, path):
        hour = self.chance.randrange(100, 108)
        self.store(path).delete_before(hour)
        self.walls[path] = {each: at for each, at in self.walls[path].items() if at >= hour}

    def copy(self, path):
        self.shut(path)
        to = self.folder / f"copy-{next(self.numbers)}.sqlite"
        shutil.copy(path, to)
        self.walls[to] = dict(self.walls[path])

    def move(self, path):
        self.shut(path)
        to = path.rename(self.folder / f"moved-{next(self.numbers)}.sqlite")
        self.walls[to] = self.walls.pop(path)

    def merge(self, _path):
        into, other = self.chance.sample(list(self.sums), 2)
        records = self.chance.choices(list(self.walls), k=self.chance.randrange(1, 5))
        if other.exists() and self.chance.random() < 0.3:
            records.insert(self.chance.randrange(len(records)), other)
        assert not any(each.error for each in merge(into, records))
        for each in records:
            self.sums[into] |= self.walls.get(each) or self.sums.get(each) or {}
        assert rows(into) == Counter(dict.fromkeys(self.sums[into], 1))

    def live(self):
        what = self.chance.choice(
            [self.grow] * 6 + [self.merge] * 4 + [self.prune, self.copy, self.move, self.shut]
        )
        what(self.chance.choice(list(self.walls)))


@pytest.mark.parametrize("seed", range(8))
def test_random_merges_yield_the_plain_sum(tmp_path, seed):
    fleet = Fleet(tmp_path, random.Random(seed))
    for step in range(80):
        fleet.live()
        if step % 25 == 24:
            fleet.begin()
    for path in list(fleet.open):
        fleet.shut(path)
    into = next(iter(fleet.sums))
    list(merge(into, list(fleet.walls)))
    for wall in fleet.walls.values():
        fleet.sums[into] |= wall
    assert rows(into) == Counter(dict.fromkeys(fleet.sums[into], 1))
    assert not list(tmp_path.glob("*.damaged-*"))
