"""Read a record, which may be written to meanwhile."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from pathlib import Path

from installation.record.errors import (
    DISK_FULL,
    FREE_SPACE,
    RecordError,
    actual_reason,
    exists,
    is_corruption,
)
from installation.record.store import migrate, up_to_date

# Hours since 1970 that a date can represent: until the year 9900.
_CALENDAR_HOURS = range(69_500_000)
# For a program that is just opening it.
_LOCK_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Period:
    """A period of whole days in local time.

    An hour belongs to the day in which it begins.

    Attributes
    ----------
    zone
        Local time zone.
    since, until
        First and last day, inclusive; None: unlimited.
    """

    zone: tzinfo
    since: date | None = None
    until: date | None = None

    @property
    def hours(self) -> range:
        """The hours that begin in the period, as in `Entry`."""
        first, end = _CALENDAR_HOURS.start, _CALENDAR_HOURS.stop
        if self.since is not None:
            first = self._midnight(self.since)
        if self.until is not None:
            end = self._midnight(self.until + timedelta(days=1))
        return range(first, end)

    def _midnight(self, day: date) -> int:
        return math.ceil(datetime.combine(day, time(), self.zone).timestamp() / 3600)

    def local(self, hour: int) -> datetime:
        """Return the local time at which an hour begins."""
        return datetime.fromtimestamp(hour * 3600, self.zone)


@contextmanager
def open_readonly(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a record read-only, without blocking a program that writes to it.

    A record written by an older version is migrated in a copy in memory.

    Raises
    ------
    RecordError
        The record does not exist or cannot be opened, or reading it fails later.
    """
    exists(path)
    try:
        # Unlike SQLite, this reports why a file cannot be opened.
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError as error:
        where = f"a link to {path.readlink()}: " if path.is_symlink() else ""
        raise RecordError(
            f"{path}: {where}no such file; nothing has been recorded yet; otherwise "
            "check record.file in the config"
        ) from error
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}; run this with sudo") from error
    try:
        # The journal is beside the file, not beside a link to it.
        with closing(_open(Path(os.path.realpath(path)))) as database:
            if up_to_date(path, database):
                yield database
                return
            with closing(sqlite3.connect(":memory:")) as copy:
                database.backup(copy)
                migrate(path, copy)
                yield copy
    except (sqlite3.Error, UnicodeDecodeError) as error:
        not_text = isinstance(error, UnicodeDecodeError)
        reason = "not text" if not_text else actual_reason(path, str(error))
        remedy = "try again, or check record.file in the config"
        if "unable to open" in reason:
            # To read the journal, SQLite must write an index beside it.
            remedy = "copy it, and the -wal file beside it, to a folder you may write to"
        if reason == DISK_FULL:
            remedy = FREE_SPACE
        if is_corruption(error):
            remedy = "the installation sets this file aside when it starts, and begins a new one"
        raise RecordError(f"{path}: {' '.join(reason.split())}; {remedy}") from error


def _open(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    if path.with_name(f"{path.name}-wal").exists() or os.access(path.parent, os.W_OK):
        return _connect(uri)
    # In a folder that cannot be written to, nobody else writes to the file either.
    return _connect(f"{uri}&immutable=1")


def _connect(uri: str) -> sqlite3.Connection:
    database = sqlite3.connect(uri, uri=True, timeout=_LOCK_TIMEOUT_S)
    try:
        database.execute("SELECT count(*) FROM sqlite_master")
    except BaseException:
        database.close()
        raise
    return database
