"""Reading the record, whoever is writing to it."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from pathlib import Path

from installation.record.errors import FULL, MAKE_ROOM, RecordError, clear, exists, is_corruption
from installation.record.store import migrate, up_to_date

# Hours since 1970 that the calendar has: until the year 9900.
_HOURS = range(69_500_000)
# Seconds to wait for one who is opening it.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Period:
    """Days as the room's calendar has them.

    An hour belongs to the day in which it begins.

    Attributes
    ----------
    zone
        The room's.
    since, until
        The first and the last day; None: from the first there is, to the last.
    """

    zone: tzinfo
    since: date | None = None
    until: date | None = None

    @property
    def hours(self) -> range:
        """The hours that begin in it, as in `Entry`."""
        first, end = _HOURS.start, _HOURS.stop
        if self.since is not None:
            first = self._midnight(self.since)
        if self.until is not None:
            end = self._midnight(self.until + timedelta(days=1))
        return range(first, end)

    def _midnight(self, day: date) -> int:
        return math.ceil(datetime.combine(day, time(), self.zone).timestamp() / 3600)

    def local(self, hour: int) -> datetime:
        """Return when an hour begins, as a clock in the room shows it."""
        return datetime.fromtimestamp(hour * 3600, self.zone)


@contextmanager
def open_readonly(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a record for reading alone, which disturbs nobody who writes.

    One that an older version wrote is as if this one had: it is read through a copy in memory.

    Raises
    ------
    RecordError
        There is none, or it cannot be read; also of what fails while it is read.
    """
    exists(path)
    try:
        # Unlike SQLite, this tells why it cannot be opened.
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError as error:
        where = f"a link to {path.readlink()}, and there is " if path.is_symlink() else ""
        raise RecordError(
            f"{path}: {where}no such file; nothing has been recorded yet, or see record.file in "
            "the config"
        ) from error
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}; ask with sudo") from error
    try:
        # What belongs to the file lies beside it, not beside a link to it.
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
        reason = "not text" if not_text else clear(path, str(error))
        remedy = "try again, or see record.file in the config"
        if "unable to open" in reason:
            # What its journal has can be read only where SQLite may make an index of it.
            remedy = "copy it, and what lies beside it as -wal, to where you may write"
        if reason == FULL:
            remedy = MAKE_ROOM
        if is_corruption(error):
            remedy = "when the wall starts it sets this file aside and begins a new one"
        raise RecordError(f"{path}: {' '.join(reason.split())}; {remedy}") from error


def _open(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    if path.with_name(f"{path.name}-wal").exists() or os.access(path.parent, os.W_OK):
        return _checked(uri)
    # A copy in a place where nothing can be written: then nobody writes to it either.
    return _checked(f"{uri}&immutable=1")


def _checked(uri: str) -> sqlite3.Connection:
    database = sqlite3.connect(uri, uri=True, timeout=_PATIENCE)
    try:
        database.execute("SELECT count(*) FROM sqlite_master")
    except BaseException:
        database.close()
        raise
    return database
