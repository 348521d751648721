"""Copy a record into one file while the installation keeps writing to it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from installation.record.errors import RecordError, is_corruption
from installation.record.reader import open_readonly
from installation.runtime.files import as_owner

# Readable by owner and group, like a record.
_MODE = 0o640
_PREFIX = ".backup-"


def back_up(record: Path, to: Path) -> int:
    """Copy a consistent snapshot of a record, which may be written to meanwhile.

    The copy appears complete and verified, or not at all. If root makes it, it belongs to the owner
    of its folder, who can then fetch it.

    Parameters
    ----------
    record
        The record; it is only read.
    to
        The copy; must not exist yet.

    Returns
    -------
    int
        Number of rows in the copy.

    Raises
    ------
    RecordError
        The record cannot be read or is damaged, or the copy cannot be written.
    """
    if os.path.lexists(to):
        raise RecordError(f"{to}: already exists; give the copy another name")
    folder = to.absolute().parent
    with open_readonly(record) as source:
        # Opens all files of the record now: the folder's owner may not be allowed to.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM entry").fetchone()
        with as_owner(folder):
            return _write(source, folder, to)


def _write(source: sqlite3.Connection, folder: Path, to: Path) -> int:
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
        os.close(handle)
        temporary = Path(name)
        rows = _copy(source, temporary, to)
        # A USB stick does not support modes.
        with suppress(PermissionError):
            temporary.chmod(_MODE)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(to)
    except OSError as error:
        raise RecordError(
            f"{to}: {error.strerror}; name an existing folder that this user may write to"
        ) from error
    finally:
        if temporary is not None:
            for part in ("", "-wal", "-shm", "-journal"):
                temporary.with_name(temporary.name + part).unlink(missing_ok=True)
    return rows


def _copy(source: sqlite3.Connection, temporary: Path, to: Path) -> int:
    with closing(sqlite3.connect(temporary)) as copy:
        try:
            # No rollback needed: if this fails, the file is deleted.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA locking_mode = EXCLUSIVE")
            source.backup(copy)
            # Leaves one file, without a journal beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            return int(copy.execute("SELECT count(*) FROM entry").fetchone()[0])
        except sqlite3.Error as error:
            if is_corruption(error):
                raise
            raise RecordError(
                f"{to}: {error}; free some space there, or name another disk"
            ) from error
