"""A copy of a record in one file, made while the wall goes on writing."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from installation.record.errors import RecordError, is_corruption
from installation.record.reader import open_readonly
from installation.runtime.files import as_owner

# Of the copy: as of a record, its owner's and its group's.
_MODE = 0o640
_PREFIX = ".backup-"


def back_up(record: Path, to: Path) -> int:
    """Copy a record as it is at one moment, whoever writes to it meanwhile.

    The copy appears whole and checked, or not at all. Made by root, it belongs to the owner of the
    folder it is in, who may then fetch it.

    Parameters
    ----------
    record
        What to copy; only read.
    to
        The copy; nothing may be there yet.

    Returns
    -------
    int
        How many rows it has.

    Raises
    ------
    RecordError
        The record cannot be read or is damaged, or the copy cannot be written.
    """
    if os.path.lexists(to):
        raise RecordError(f"{to}: is there already and is kept; give the copy another name")
    folder = to.absolute().parent
    with open_readonly(record) as source:
        # Opens all files of the record now: the folder's owner may not read them.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM entry").fetchone()
        with as_owner(folder):
            return _write(source, folder, to)


def _write(source: sqlite3.Connection, folder: Path, to: Path) -> int:
    making = None
    try:
        handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
        os.close(handle)
        making = Path(name)
        rows = _copy(source, making, to)
        # A memory stick knows no modes.
        with suppress(PermissionError):
            making.chmod(_MODE)
        with making.open("rb") as file:
            os.fsync(file.fileno())
        making.replace(to)
    except OSError as error:
        raise RecordError(
            f"{to}: {error.strerror}; name a folder that is there and may be written to"
        ) from error
    finally:
        if making is not None:
            for part in ("", "-wal", "-shm", "-journal"):
                making.with_name(making.name + part).unlink(missing_ok=True)
    return rows


def _copy(source: sqlite3.Connection, making: Path, to: Path) -> int:
    with closing(sqlite3.connect(making)) as copy:
        try:
            # Nothing has to be undone in a file that is thrown away should this fail.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA locking_mode = EXCLUSIVE")
            source.backup(copy)
            # One file, whatever the record has beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            return int(copy.execute("SELECT count(*) FROM entry").fetchone()[0])
        except sqlite3.Error as error:
            if is_corruption(error):
                raise
            raise RecordError(f"{to}: {error}; make room there, or name another disk") from error
