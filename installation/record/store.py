"""The database: one row a settled word, and a row once written stays."""

from __future__ import annotations

import contextlib
import errno
import glob
import logging
import os
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

from installation.errors import InstallationError
from installation.record.entry import Entry, hour_of

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
)
_COLUMNS = ", ".join(field.name for field in fields(Entry))
_PLACES = ", ".join("?" for _ in fields(Entry))
# Seconds to wait for another program that is writing, such as one that makes a backup.
_PATIENCE = 0.5
# Bytes that opening a record takes, and some rows.
_ROOM = 2**18
# What goes with a database file; moved first, for what is left behind would be taken for the new
# file's.
_PARTS = ("-wal", "-shm", "")


class RecordError(InstallationError):
    """The record cannot be opened, read or written for now."""


class _Damaged(Exception):  # noqa: N818  # handled here, never seen
    """The file was no sound database; it is set aside."""


class Store:
    """The record, open for writing; used from one thread.

    A damaged file is set aside under another name, with one warning, and a new one is begun.

    Parameters
    ----------
    path
        The file; made where there is none, in a folder that is there.

    Raises
    ------
    RecordError
        It cannot be opened, or is not this program's to write to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            try:
                self._database = _open(path)
            except _Damaged:
                self._database = _open(path)
            self._inode = path.stat().st_ino
        except (OSError, sqlite3.Error, _Damaged) as error:
            raise explained(path, error) from error

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
                    f"INSERT INTO entry ({_COLUMNS}) VALUES ({_PLACES})",  # noqa: S608
                    map(astuple, entries),
                )
        except (OSError, sqlite3.Error) as error:
            raise explained(self._path, error) from error

    def forget(self, before: int) -> None:
        """Delete all from before an hour, and with it every trace in the files.

        So are sets of files that were set aside as damaged, once nothing in them is newer.

        Parameters
        ----------
        before
            Hour, as in `Entry`.

        Raises
        ------
        RecordError
            They could not be deleted; open the store anew before the next attempt.
        """
        try:
            with self._database:
                self._database.execute("DELETE FROM entry WHERE hour < ?", (before,))
            # The journal still has the pages as they were. One who reads keeps them there: until
            # the next time.
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for aside in self._path.parent.glob(f"{glob.escape(self._path.name)}.damaged-*"):
                if hour_of(aside.stat().st_mtime) < before:
                    aside.unlink()
                    log.info("%s: deleted, as record.keep_days says", aside)
        except (OSError, sqlite3.Error) as error:
            raise explained(self._path, error) from error

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
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as database:
            return int(database.execute("SELECT count(*) FROM entry").fetchone()[0])
    except (sqlite3.Error, OSError) as error:
        raise explained(path, error) from error


def _open(path: Path) -> sqlite3.Connection:
    # Unlike SQLite, this tells why it cannot be opened, and lets nobody else read it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    wal = _part(path, "-wal")
    if path.stat().st_size == 0 and wal.exists() and wal.stat().st_size > 0:
        # SQLite would take it for a new file, and throw away the rows that are in the other.
        raise _set_aside(path, "empty")
    database = sqlite3.connect(path, timeout=_PATIENCE)
    try:
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(" ".join(str(found).split()))
        migrate(path, database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten.
        database.execute("PRAGMA secure_delete = ON")
    except BaseException as error:
        try:
            if is_damage(error):
                # Before it is closed: SQLite leaves alone what is not in its place any more.
                raise _set_aside(path, str(error)) from error
        finally:
            database.close()
        raise
    return database


def is_damage(error: BaseException) -> bool:
    """Tell an error of a database that is none, or is broken, from others."""
    # Python has no better class for "malformed" and "not a database"; and what is malformed may
    # be quoted in the message, which then is no text.
    return (
        type(error) is sqlite3.DatabaseError
        or isinstance(error, UnicodeDecodeError)
        or "unsupported file format" in str(error)
    )


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
    with database:
        database.execute("BEGIN IMMEDIATE")
        # Another process may just have done it.
        version = _version(path, database)
        for statement in _MIGRATIONS[version:]:
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _set_aside(path: Path, reason: str) -> _Damaged:
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
    return _Damaged(reason)


def _part(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)


def explained(path: Path, error: Exception) -> RecordError:
    """Return an error met while writing to a record as one that says what to do."""
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    if _is_full(path):
        remedy = "make room on this disk"
    elif "locked" in reason:
        remedy = "end what else is writing there"
    else:
        remedy = "let this user write there on a sound disk, or set record.file to another place"
    return RecordError(f"{path}: {reason}; {remedy}")


def _is_full(path: Path) -> bool:
    # SQLite does not always say so.
    with contextlib.suppress(OSError):
        disk = os.statvfs(path.parent)
        return disk.f_bavail * disk.f_frsize < _ROOM
    return False
