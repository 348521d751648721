"""Deletes rows that are too old; those that a shorter ``record.keep_days`` deletes, a day later.

The table ``expiry`` in the record remembers by which setting rows are deleted, so that a change is
noticed across restarts. Programs of before know nothing of it and leave it alone.
"""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from installation.record.entry import hour_of
from installation.record.store import Store

log = logging.getLogger(__name__)

# Seconds between the announcement and the deletion.
_NOTICE_S = 86_400
# Seconds by which the clock may have gone on since the last look, as while the machine was off for
# some days, and gone back, as when it is corrected. Beyond these it is not to be trusted.
_MAX_GAP_S = 4 * 86_400
_MAX_BACK_S = 3600
_HOUR_S = 3600
_DAY_HOURS = 24
_TABLE = """
    CREATE TABLE IF NOT EXISTS expiry (
        in_force INTEGER,
        keep_days INTEGER,
        before INTEGER,
        announced INTEGER,
        looked INTEGER NOT NULL
    )
"""


@dataclass(frozen=True, slots=True)
class _State:
    """What the record remembers.

    Attributes
    ----------
    in_force
        Days by which rows are deleted by now; None: none are.
    keep_days
        The setting of the program that was started last; other than `in_force` while a deletion
        is announced.
    before
        Hour, as in `Entry`, before which rows are to be deleted; None: nothing is announced.
    announced
        When that was announced, seconds since 1970.
    looked
        When the record was last looked at, the same.
    """

    in_force: int | None
    keep_days: int | None
    before: int | None
    announced: int | None
    looked: int


@dataclass(frozen=True, slots=True)
class Announced:
    """A deletion that is to come.

    Attributes
    ----------
    rows
        How many rows it deletes.
    before
        From before which hour, as in `Entry`.
    at
        When, seconds since 1970.
    keep_days
        The setting that asks for it.
    """

    rows: int
    before: int
    at: int
    keep_days: int | None

    def __str__(self) -> str:
        return (
            f"{_words(self.rows, self.before)} will be deleted on {_shown(self.at)}, "
            f"as record.keep_days is {self.keep_days}"
        )


KEEP_THEM = "to keep them, put record.keep_days back and restart before then"


def announced(database: sqlite3.Connection) -> Announced | None:
    """Return the deletion that is announced in a record, if one is."""
    state = _load(database)
    if state is None or state.before is None or state.announced is None:
        return None
    at = state.announced + _NOTICE_S
    return Announced(_count(database, state.before), state.before, at, state.keep_days)


class Expiry:
    """Keeps a record to ``record.keep_days``; used from one thread.

    Rows that the setting of before would have kept are deleted a day after that was announced, and
    so are those that are too old because the clock was put forward.

    Parameters
    ----------
    path
        The record, for messages.
    keep_days
        Rows older than so many times 24 hours are deleted; None keeps all.
    """

    def __init__(self, path: Path, keep_days: int | None) -> None:
        self._path = path
        self._keep_days = keep_days
        self._first = True

    def sweep(self, store: Store, now: float) -> None:
        """Delete what is due, or announce it; to be called at opening and every hour.

        Parameters
        ----------
        store
            The record, open for writing.
        now
            The time of day, seconds since 1970 in UTC.

        Raises
        ------
        RecordError
            It could not be written to.
        """
        with store.transaction() as database:
            state = _load(database)
            if state is not None and not self._first and state.keep_days != self._keep_days:
                # A program that was started since goes by another setting, which counts.
                return
            due, before = self._look(state, database, store, int(now))
            if due is not None:
                _save(database, due)
        self._first = False
        if before is not None and (gone := store.forget(before)):
            log.info("%s: %s deleted, as record.keep_days says", self._path, _words(gone, before))

    def _look(
        self, state: _State | None, database: sqlite3.Connection, store: Store, now: int
    ) -> tuple[_State | None, int | None]:
        """Return what to remember, None for no change, and before which hour to delete."""
        keep_days = self._keep_days
        if keep_days is None:
            self._say_if_withdrawn(state)
            return state and _State(None, None, None, None, now), None
        cutoff = _cutoff(now, keep_days)
        rows, files = _count(database, cutoff), len(store.damaged_before(cutoff))
        trusted = state is None or -_MAX_BACK_S <= now - state.looked <= _MAX_GAP_S
        in_force = state.in_force if state is not None and trusted else None
        if not (rows or files) or (in_force is not None and in_force <= keep_days):
            self._say_if_withdrawn(state)
            return _State(keep_days, keep_days, None, None, now), cutoff
        routine = None if in_force is None else _cutoff(now, in_force)
        if state is None or not trusted or state.before is None or state.keep_days != keep_days:
            due = _State(in_force, keep_days, cutoff, now, now)
            what = (
                f" and {files} file{'' if files == 1 else 's'} set aside as damaged"
                if files
                else ""
            )
            line = f"{_words(rows, cutoff)}{what} will be deleted on {_shown(now + _NOTICE_S)}"
            advice = KEEP_THEM
            if state is not None and not trusted:
                advice = (
                    f"the clock went from {_shown(state.looked)} to {_shown(now)} since the last "
                    "look: if it is wrong, set it right before then"
                )
            why = f"as record.keep_days is {keep_days}; {advice}"
            log.warning("%s: %s, %s", self._path, line, why)
            return due, routine
        if now - (state.announced or now) >= _NOTICE_S:
            return _State(keep_days, keep_days, None, None, now), state.before
        if self._first:
            log.warning("%s: %s; %s", self._path, announced(database), KEEP_THEM)
        return replace(state, looked=now), routine

    def _say_if_withdrawn(self, state: _State | None) -> None:
        if state is not None and state.before is not None:
            log.info("%s: what was announced is not deleted", self._path)


def _cutoff(now: float, keep_days: int) -> int:
    return hour_of(now) - _DAY_HOURS * keep_days


def _count(database: sqlite3.Connection, before: int) -> int:
    query = "SELECT count(*) FROM entry WHERE hour < ?"
    return int(database.execute(query, (before,)).fetchone()[0])


def _load(database: sqlite3.Connection) -> _State | None:
    tables = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'expiry'")
    if not tables.fetchone()[0]:
        return None
    row = database.execute(
        "SELECT in_force, keep_days, before, announced, looked FROM expiry"
    ).fetchone()
    return None if row is None else _State(*row)


def _save(database: sqlite3.Connection, state: _State) -> None:
    database.execute(_TABLE)
    database.execute("DELETE FROM expiry")
    database.execute("INSERT INTO expiry VALUES (?, ?, ?, ?, ?)", astuple(state))


def _words(rows: int, before: int) -> str:
    return f"{rows:,} word{'' if rows == 1 else 's'} from before {_shown(before * _HOUR_S)}"


def _shown(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc).astimezone():%Y-%m-%d %H:%M}"
