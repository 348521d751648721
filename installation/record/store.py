"""The database of a record: one row per settled word.

Each row has a unique id of 64 random bits. By these, records are merged without counting a row
twice; and being random, they do not reveal the order in which words were shown.
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

# Distinguishes our databases from those of other programs: "roul".
_APPLICATION_ID = 0x726F756C
# Each migrates the version before it; the first, an empty file.
MIGRATIONS = (
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
    # Rows get an id derived from their content and position, so that copies of a record made
    # before this migration agree on it.
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
# The columns of a row, as `Store.merge` takes it.
COLUMNS = ", ".join((*_FIELDS, "id"))
_PLACEHOLDERS = ", ".join("?" for _ in (*_FIELDS, "id"))
# For another program that is writing, or making a backup.
_LOCK_TIMEOUT_S = 0.5
# Size of the journal at which it is written to the database, and of its pages (SQLite's default).
_JOURNAL_BYTES = 2**18
_PAGE_BYTES = 2**12
# The files of a database. The journal is moved first: one that is left behind would be taken for
# the journal of a new database.
_SUFFIXES = ("-wal", "-shm", "")


class Store:
    """The record, open for writing; used from one thread.

    A damaged file is renamed, with one warning, and a new one is created.

    Parameters
    ----------
    path
        The file; created if it does not exist. Its folder must exist.
    timeout_s
        How long to wait for another program that is writing, seconds.
    set_aside
        Whether to set a damaged file aside; False: raise an error instead.

    Raises
    ------
    RecordError
        The file cannot be opened, or belongs to another program.
    """

    def __init__(
        self, path: Path, timeout_s: float = _LOCK_TIMEOUT_S, set_aside: bool = True
    ) -> None:
        self._path = path
        try:
            exists(path)
            # The journal is beside the file, not beside a link to it.
            file = Path(os.path.realpath(path))
            try:
                self._database = _open(file, timeout_s, set_aside)
            except DamagedError:
                self._database = _open(file, timeout_s, set_aside)
            self._file, self._inode = file, path.stat().st_ino
        except (OSError, sqlite3.Error, DamagedError) as error:
            raise as_record_error(path, error) from error

    def add(self, entries: Iterable[Entry]) -> None:
        """Write all entries or none; once this returns, they survive a power cut.

        Raises
        ------
        RecordError
            The entries could not be written; reopen the store before the next attempt.
        """
        try:
            # SQLite would keep writing to a file that was moved or deleted.
            if self._path.stat().st_ino != self._inode:
                raise FileNotFoundError(errno.ENOENT, "the file was replaced")
            with self._database:
                self._database.executemany(
                    f"INSERT INTO entry ({COLUMNS}) VALUES ({_PLACEHOLDERS})",  # noqa: S608
                    ((*astuple(each), _id(os.urandom(8))) for each in entries),
                )
        except (OSError, sqlite3.Error) as error:
            raise as_record_error(self._path, error) from error

    def merge(self, batches: Iterable[Sequence[Sequence[Any]]]) -> tuple[int, int, int]:
        """Add all rows of another record that this one does not have, or none.

        Parameters
        ----------
        batches
            Batches of rows, each the values of `COLUMNS`.

        Returns
        -------
        rows, new, different
            Number of rows in the batches; of rows added; of rows skipped because this record has
            other content under their id.

        Raises
        ------
        RecordError
            The rows could not be written. Errors from ``batches`` are passed on.
        """
        rows = new = different = 0
        differs = " OR ".join(f"known.{name} IS NOT incoming.{name}" for name in _FIELDS)
        try:
            self._database.execute(
                "CREATE TEMP TABLE IF NOT EXISTS incoming AS SELECT * FROM entry WHERE false"
            )
            with self._database as database:
                database.execute("BEGIN IMMEDIATE")
                for batch in batches:
                    rows += len(batch)
                    database.execute("DELETE FROM incoming")
                    database.executemany(
                        f"INSERT INTO incoming ({COLUMNS}) VALUES ({_PLACEHOLDERS})",  # noqa: S608
                        batch,
                    )
                    (number,) = database.execute(
                        f"SELECT count(*) FROM incoming JOIN entry known USING (id) WHERE {differs}"  # noqa: S608
                    ).fetchone()
                    different += number
                    new += database.execute(
                        f"INSERT OR IGNORE INTO entry ({COLUMNS}) SELECT {COLUMNS} FROM incoming"  # noqa: S608
                    ).rowcount
        except (OSError, sqlite3.Error) as error:
            raise as_record_error(self._path, error) from error
        return rows, new, different

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements in one transaction that excludes other writers.

        Raises
        ------
        RecordError
            The transaction failed; reopen the store before the next attempt.
        """
        try:
            with self._database as database:
                database.execute("BEGIN IMMEDIATE")
                yield database
        except (OSError, sqlite3.Error) as error:
            raise as_record_error(self._path, error) from error

    def damaged_before(self, before: int) -> list[Path]:
        """Return the files set aside as damaged that were last written before an hour."""
        found = self._file.parent.glob(f"{glob.escape(self._file.name)}.damaged-*")
        return [each for each in found if each.is_file() and hour_of(each.stat().st_mtime) < before]

    def delete_before(self, before: int) -> int:
        """Delete all rows from before an hour, and every trace of them in the files.

        Files set aside as damaged are deleted too, once nothing in them is newer.

        Parameters
        ----------
        before
            Hour, as in `Entry`.

        Returns
        -------
        int
            Number of rows deleted.

        Raises
        ------
        RecordError
            The rows could not be deleted; reopen the store before the next attempt.
        """
        try:
            with self._database as database:
                deleted = database.execute("DELETE FROM entry WHERE hour < ?", (before,)).rowcount
            if deleted or database.execute("PRAGMA freelist_count").fetchone()[0]:
                # SQLite does not overwrite the copies that rows leave when they move between pages.
                # Free pages mean that the disk was too full for this the last time.
                database.execute("VACUUM")
            # The journal still holds the old pages. If a reader keeps them there, the next call
            # removes them.
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for aside in self.damaged_before(before):
                aside.unlink(missing_ok=True)
                log.info("%s: deleted because of record.keep_days", aside)
        except (OSError, sqlite3.Error) as error:
            raise as_record_error(self._path, error) from error
        return deleted

    def close(self) -> None:
        """Close the file; everything that was added is already safe."""
        self._database.close()


def count_rows(path: Path) -> int:
    """Return the number of rows of a record, which may be written to meanwhile.

    Raises
    ------
    RecordError
        The record does not exist or cannot be read.
    """
    try:
        exists(path)
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=_LOCK_TIMEOUT_S)
        ) as database:
            return int(database.execute("SELECT count(*) FROM entry").fetchone()[0])
    except (sqlite3.Error, OSError) as error:
        raise as_record_error(path, error) from error


def _id(random: bytes) -> int:
    return int.from_bytes(random[:8], "big", signed=True)


def _open(path: Path, timeout_s: float, set_aside: bool) -> sqlite3.Connection:
    # Unlike SQLite, this reports why a file cannot be opened, and lets nobody else read it.
    with contextlib.nullcontext() if path.exists() else as_owner(path.parent):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    wal = _with_suffix(path, "-wal")
    if path.stat().st_size == 0 and wal.exists() and wal.stat().st_size > 0:
        # SQLite would take it for a new file and discard the rows in the journal.
        raise (
            _set_aside(path, "empty")
            if set_aside
            else DamagedError("empty, except for its journal")
        )
    database = sqlite3.connect(path, timeout=timeout_s)
    try:
        # Overwrite what is deleted, and what a migration replaces.
        database.execute("PRAGMA secure_delete = ON")
        # Write nothing of the record to other files.
        database.execute("PRAGMA temp_store = MEMORY")
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(" ".join(str(found).split()))
        migrate(path, database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        # As short as possible: on a small disk it would be the journal that fills it.
        database.execute(f"PRAGMA wal_autocheckpoint = {_JOURNAL_BYTES // _PAGE_BYTES}")
        database.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
    except BaseException as error:
        try:
            if is_corruption(error):
                # Rename before closing: SQLite does not touch files that are no longer in place.
                damaged = _set_aside(path, str(error)) if set_aside else DamagedError(str(error))
                raise damaged from error
        finally:
            database.close()
        raise
    return database


def up_to_date(path: Path, database: sqlite3.Connection) -> bool:
    """Return whether a database has the current format; the path is for messages.

    Raises
    ------
    RecordError
        The database belongs to another program or has a newer format.
    """
    return _version(path, database) == len(MIGRATIONS)


def _version(path: Path, database: sqlite3.Connection) -> int:
    def ask(what: str) -> int:
        return int(database.execute(what).fetchone()[0])

    owner, version = ask("PRAGMA application_id"), ask("PRAGMA user_version")
    if owner != _APPLICATION_ID and ask("SELECT count(*) FROM sqlite_master") > 0:
        raise RecordError(f"{path}: another program's database; set record.file to another path")
    if version > len(MIGRATIONS):
        raise RecordError(
            f"{path}: written by a newer version of this program (format {version}, "
            f"this one reads up to {len(MIGRATIONS)}); "
            "install that, or set record.file to another path"
        )
    return version


def migrate(path: Path, database: sqlite3.Connection) -> None:
    """Migrate a database to the current format.

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
        # Another program may have migrated it meanwhile.
        for step in MIGRATIONS[_version(path, database) :]:
            for statement in step.split(";"):
                database.execute(statement)
        database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _set_aside(path: Path, reason: str) -> DamagedError:
    """Rename a database and its journal; nothing is ever overwritten."""
    timestamp = time.strftime("%Y%m%d-%H%M%S")
    aside, attempt = path.with_name(f"{path.name}.damaged-{timestamp}"), 1
    while any(_with_suffix(aside, part).exists() for part in _SUFFIXES):
        attempt += 1
        aside = path.with_name(f"{path.name}.damaged-{timestamp}-{attempt}")
    for part in _SUFFIXES:
        if _with_suffix(path, part).exists():
            _with_suffix(path, part).rename(_with_suffix(aside, part))
    log.warning("%s: damaged (%s); set aside as %s", path, reason, aside)
    return DamagedError(reason)


def _with_suffix(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)
