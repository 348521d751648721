"""The database: one row a settled word, and a row once written stays.

Each row has an id that no other has, in whichever record: 64 bits at random, by which records can
be summed without counting anything twice, and which tell nothing of the order words were given in.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from installation.record.entry import Entry, hour_of
from installation.record.errors import (
    DamagedError,
    RecordError,
    as_record_error,
    exists,
    is_corruption,
)
from installation.runtime.files import as_owner

log = logging.getLogger(__name__)

# Tells our databases from those of other programs: "roul".
_APPLICATION = 0x726F756C
# What leads from each version to the next, the first from an empty file.
_MIGRATIONS = (
    """
    CREATE TABLE entry (
        hour INTEGER NOT NULL,
        wnid TEXT NOT NULL,
        confidence REAL NOT NULL,
        seconds INTEGER NOT NULL,
        source TEXT NOT NULL,
        policy TEXT NOT NULL,
        engine TEXT NOT NULL
    )
    """,
    # Rows that had no id get one that follows from what and where they are, so that copies of a
    # record, made before, agree on it.
    """
    CREATE TABLE identified (
        hour INTEGER NOT NULL,
        wnid TEXT NOT NULL,
        confidence REAL NOT NULL,
        seconds INTEGER NOT NULL,
        source TEXT NOT NULL,
        policy TEXT NOT NULL,
        engine TEXT NOT NULL,
        id INTEGER PRIMARY KEY
    );
    INSERT INTO identified
        SELECT hour, wnid, confidence, seconds, source, policy, engine, id_of(CAST(
            rowid || ' ' || hour || ' ' || wnid || ' ' || confidence || ' ' || seconds || ' ' ||
            source || ' ' || policy || ' ' || engine AS BLOB))
        FROM entry;
    DROP TABLE entry;
    ALTER TABLE identified RENAME TO entry
    """,
)
_FIELDS = tuple(field.name for field in fields(Entry))
# Of a row, as `Store.merge` takes it.
COLUMNS = ", ".join((*_FIELDS, "id"))
_PLACES = ", ".join("?" for _ in (*_FIELDS, "id"))
# Seconds to wait for another program that is writing, such as one that makes a backup.
_PATIENCE = 0.5
# Bytes after which what is in the journal goes into the database; of its pages, SQLite's default.
_JOURNAL = 2**18
_PAGE = 2**12
# What goes with a database file; moved first, for what is left behind would be taken for the new
# file's.
_PARTS = ("-wal", "-shm", "")


class Store:
    """The record, open for writing; used from one thread.

    A damaged file is set aside under another name, with one warning, and a new one is begun.

    Parameters
    ----------
    path
        The file; made where there is none, in a folder that is there.
    patience
        Seconds to wait for another program that is writing.
    aside
        Whether to set a damaged file aside; else it is trouble like any other.

    Raises
    ------
    RecordError
        It cannot be opened, or is not this program's to write to.
    """

    def __init__(self, path: Path, patience: float = _PATIENCE, aside: bool = True) -> None:
        self._path = path
        try:
            exists(path)
            # What belongs to the file lies beside it, not beside a link to it.
            file = Path(os.path.realpath(path))
            try:
                self._database = _open(file, patience, aside)
            except DamagedError:
                self._database = _open(file, patience, aside)
            self._file, self._inode = file, path.stat().st_ino
        except (OSError, sqlite3.Error, DamagedError) as error:
            raise as_record_error(path, error) from error

    def add(self, entries: Iterable[Entry]) -> None:
        """Write entries, all or none; on return they outlast a power cut.

        Raises
        ------
        RecordError
            They could not be written; open the store anew before the next attempt.
        """
        try:
            # SQLite would go on writing to a file that was moved or deleted, where nobody looks.
            if self._path.stat().st_ino != self._inode:
                raise FileNotFoundError(errno.ENOENT, "the file was replaced")
            with self._database:
                self._database.executemany(
                    f"INSERT INTO entry ({COLUMNS}) VALUES ({_PLACES})",  # noqa: S608
                    ((*astuple(each), _id(os.urandom(8))) for each in entries),
                )
        except (OSError, sqlite3.Error) as error:
            raise as_record_error(self._path, error) from error

    def merge(self, batches: Iterable[Sequence[Sequence[Any]]]) -> tuple[int, int, int]:
        """Add those rows of another record that are not here yet, all or none.

        Parameters
        ----------
        batches
            Rows as ``SELECT`` gives the `COLUMNS` of it, some at a time.

        Returns
        -------
        rows, new, different
            How many came; how many of them were not here; how many have the id of a row here that
            says something else, and were left.

        Raises
        ------
        RecordError
            They could not be written. What reading them raises is passed on.
        """
        rows = new = different = 0
        differs = " OR ".join(f"here.{name} IS NOT coming.{name}" for name in _FIELDS)
        try:
            self._database.execute(
                "CREATE TEMP TABLE IF NOT EXISTS coming AS SELECT * FROM entry WHERE false"
            )
            with self._database as database:
                database.execute("BEGIN IMMEDIATE")
                for batch in batches:
                    rows += len(batch)
                    database.execute("DELETE FROM coming")
                    database.executemany(
                        f"INSERT INTO coming ({COLUMNS}) VALUES ({_PLACES})",  # noqa: S608
                        batch,
                    )
                    (number,) = database.execute(
                        f"SELECT count(*) FROM coming JOIN entry AS here USING (id) WHERE {differs}"  # noqa: S608
                    ).fetchone()
                    different += number
                    new += database.execute(
                        f"INSERT OR IGNORE INTO entry ({COLUMNS}) SELECT {COLUMNS} FROM coming"  # noqa: S608
                    ).rowcount
        except (OSError, sqlite3.Error) as error:
            raise as_record_error(self._path, error) from error
        return rows, new, different

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do several things at one moment, whoever else is writing, and all of them or none.

        Raises
        ------
        RecordError
            They could not be done; open the store anew before the next attempt.
        """
        try:
            with self._database as database:
                database.execute("BEGIN IMMEDIATE")
                yield database
        except (OSError, sqlite3.Error) as error:
            raise as_record_error(self._path, error) from error

    def damaged_before(self, before: int) -> list[Path]:
        """Return the files that were set aside as damaged, and are from before an hour."""
        found = self._file.parent.glob(f"{glob.escape(self._file.name)}.damaged-*")
        return [each for each in found if each.is_file() and hour_of(each.stat().st_mtime) < before]

    def delete_before(self, before: int) -> int:
        """Delete all from before an hour, and with it every trace in the files.

        So are sets of files that were set aside as damaged, once nothing in them is newer.

        Parameters
        ----------
        before
            Hour, as in `Entry`.

        Returns
        -------
        int
            How many rows there were.

        Raises
        ------
        RecordError
            They could not be deleted; open the store anew before the next attempt.
        """
        try:
            with self._database as database:
                gone = database.execute("DELETE FROM entry WHERE hour < ?", (before,)).rowcount
            if gone or database.execute("PRAGMA freelist_count").fetchone()[0]:
                # Rows move between pages when others come and go; where they were before SQLite
                # overwrites nothing. Free pages tell that the disk had no room for this last time.
                database.execute("VACUUM")
            # The journal still has the pages as they were. One who reads keeps them there: until
            # the next time.
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for aside in self.damaged_before(before):
                aside.unlink(missing_ok=True)
                log.info("%s: deleted, as record.keep_days says", aside)
        except (OSError, sqlite3.Error) as error:
            raise as_record_error(self._path, error) from error
        return gone

    def close(self) -> None:
        """Let go of the file; what was added is safe already."""
        self._database.close()


def count(path: Path) -> int:
    """Count the rows of a record, whoever is writing to it.

    Raises
    ------
    RecordError
        There is none, or it cannot be read.
    """
    try:
        exists(path)
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as database:
            return int(database.execute("SELECT count(*) FROM entry").fetchone()[0])
    except (sqlite3.Error, OSError) as error:
        raise as_record_error(path, error) from error


def _id(random: bytes) -> int:
    return int.from_bytes(random[:8], "big", signed=True)


def _open(path: Path, patience: float, aside: bool) -> sqlite3.Connection:
    # Unlike SQLite, this tells why it cannot be opened, and lets nobody else read it.
    with contextlib.nullcontext() if path.exists() else as_owner(path.parent):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    wal = _part(path, "-wal")
    if path.stat().st_size == 0 and wal.exists() and wal.stat().st_size > 0:
        # SQLite would take it for a new file, and throw away the rows that are in the other.
        raise _set_aside(path, "empty") if aside else DamagedError("empty, but for its journal")
    database = sqlite3.connect(path, timeout=patience)
    try:
        # What is deleted is overwritten; so is what a new version writes in another form.
        database.execute("PRAGMA secure_delete = ON")
        # Nothing of the record is to be written to another place.
        database.execute("PRAGMA temp_store = MEMORY")
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(" ".join(str(found).split()))
        migrate(path, database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        # No longer than it has to be: on a disk with little room it would be what fills it.
        database.execute(f"PRAGMA wal_autocheckpoint = {_JOURNAL // _PAGE}")
        database.execute(f"PRAGMA journal_size_limit = {_JOURNAL}")
    except BaseException as error:
        try:
            if is_corruption(error):
                # Before it is closed: SQLite leaves alone what is not in its place any more.
                damaged = _set_aside(path, str(error)) if aside else DamagedError(str(error))
                raise damaged from error
        finally:
            database.close()
        raise
    return database


def up_to_date(path: Path, database: sqlite3.Connection) -> bool:
    """Tell whether a database has this version's form; the path is for messages.

    Raises
    ------
    RecordError
        It is another program's, or of a newer version.
    """
    return _version(path, database) == len(_MIGRATIONS)


def _version(path: Path, database: sqlite3.Connection) -> int:
    def ask(what: str) -> int:
        return int(database.execute(what).fetchone()[0])

    owner, version = ask("PRAGMA application_id"), ask("PRAGMA user_version")
    if owner != _APPLICATION and ask("SELECT count(*) FROM sqlite_master") > 0:
        raise RecordError(f"{path}: another program's database; set record.file to another name")
    if version > len(_MIGRATIONS):
        raise RecordError(
            f"{path}: written by a newer version of this program (format {version}, "
            f"known here: {len(_MIGRATIONS)}); install that, or set record.file to another name"
        )
    return version


def migrate(path: Path, database: sqlite3.Connection) -> None:
    """Bring a database up to date.

    Raises
    ------
    RecordError
        See `up_to_date`.
    """
    if up_to_date(path, database):
        return
    database.create_function("id_of", 1, lambda row: _id(hashlib.sha256(row).digest()))
    with database:
        database.execute("BEGIN IMMEDIATE")
        # Another program may have done it until now.
        for step in _MIGRATIONS[_version(path, database) :]:
            for statement in step.split(";"):
                database.execute(statement)
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _set_aside(path: Path, reason: str) -> DamagedError:
    """Rename a database with all that belongs to it; nothing is ever overwritten."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside, tries = path.with_name(f"{path.name}.damaged-{stamp}"), 1
    while any(_part(aside, part).exists() for part in _PARTS):
        tries += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{tries}")
    for part in _PARTS:
        if _part(path, part).exists():
            _part(path, part).rename(_part(aside, part))
    log.warning("%s: damaged (%s); set aside as %s", path, reason, aside)
    return DamagedError(reason)


def _part(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)
