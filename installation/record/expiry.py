"""Deletes expired rows; those that a lowered ``record.keep_days`` deletes, a day later.

The table ``expiry`` in the record stores the setting in effect, so that a change is noticed across
restarts. Earlier versions of the program ignore it.
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

# Between the announcement and the deletion.
_NOTICE_S = 86_400
# A clock is not trusted if, since the last check, it has gone forward by more than this (a machine
# may be off for some days) or back by more than this (a clock may be corrected).
_MAX_GAP_S = 4 * 86_400
_MAX_BACKWARD_S = 3600
# Nor is it trusted longer than this after an announcement; a machine that runs for some days a
# month is off for less.
_MAX_NOTICE_S = 60 * 86_400
_HOUR_S = 3600
_DAY_HOURS = 24
# At most so many hours of the record expire between an announcement and the deletion.
_MAX_STEP_HOURS = 5 * _DAY_HOURS
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
    """The state stored in the record.

    Attributes
    ----------
    current_days
        Age in days at which rows are deleted now; None: no rows are deleted.
    keep_days
        Setting of the program started last; differs from `current_days` while a deletion is
        announced.
    before
        Rows from before this hour (see `Entry`) will be deleted; None: nothing is announced.
    announced_at
        Time of that announcement, seconds since 1970.
    checked_at
        Time of the last check with a trusted clock, seconds since 1970.
    """

    current_days: int | None
    keep_days: int | None
    before: int | None
    announced_at: int | None
    checked_at: int


@dataclass(frozen=True, slots=True)
class AnnouncedDeletion:
    """A deletion that has been announced.

    Attributes
    ----------
    rows
        Number of rows that will be deleted.
    before
        Rows from before this hour (see `Entry`) will be deleted.
    at
        Time of the deletion, seconds since 1970.
    keep_days
        The setting that causes it.
    """

    rows: int
    before: int
    at: int
    keep_days: int | None

    def __str__(self) -> str:
        return (
            f"{_describe_rows(self.rows, self.before)} will be deleted on {_format_time(self.at)} "
            f"because record.keep_days is {self.keep_days}"
        )


@dataclass(frozen=True, slots=True)
class _Expired:
    """Numbers of rows, and of files set aside as damaged, from before an hour."""

    rows: int
    files: int
    cutoff: int

    def __bool__(self) -> bool:
        return bool(self.rows or self.files)

    def __str__(self) -> str:
        files = f"{self.files} file{'' if self.files == 1 else 's'} set aside as damaged"
        return f"{_describe_rows(self.rows, self.cutoff)}{f' and {files}' if self.files else ''}"


KEEP_ROWS_ADVICE = "to keep them, restore record.keep_days and restart before then"


def announced_deletion(database: sqlite3.Connection) -> AnnouncedDeletion | None:
    """Return the deletion that is announced in a record; None if there is none."""
    state = _load(database)
    if state is None or state.before is None or state.announced_at is None:
        return None
    at = state.announced_at + _NOTICE_S
    return AnnouncedDeletion(_count(database, state.before), state.before, at, state.keep_days)


class Expiry:
    """Deletes the rows that ``record.keep_days`` does not keep; used from one thread.

    Rows that the previous setting would have kept, or that expire because the clock was set
    forward, are deleted a day after an announcement in the log.

    Parameters
    ----------
    path
        The record, for messages.
    keep_days
        Rows older than this many times 24 hours are deleted; None: all rows are kept.
    """

    def __init__(self, path: Path, keep_days: int | None) -> None:
        self._path = path
        self._keep_days = keep_days
        self._first = True

    def sweep(self, store: Store, now: float) -> None:
        """Delete expired rows, or announce their deletion; call it at opening and every hour.

        Parameters
        ----------
        store
            The record, open for writing.
        now
            Current time, seconds since 1970 in UTC.

        Raises
        ------
        RecordError
            The record cannot be written to.
        """
        if self._keep_days is None and not self._first:
            return
        with store.transaction() as database:
            state = _load(database)
            if state is not None and not self._first and state.keep_days != self._keep_days:
                # A program started later uses another setting, which takes precedence.
                return
            changed, before = self._decide(state, database, store, int(now))
            if changed is not None:
                _save(database, changed)
        self._first = False
        if before is not None and (gone := store.delete_before(before)):
            log.info(
                "%s: %s deleted because of record.keep_days",
                self._path,
                _describe_rows(gone, before),
            )

    def _decide(
        self, state: _State | None, database: sqlite3.Connection, store: Store, now: int
    ) -> tuple[_State | None, int | None]:
        """Return the state to store (None: unchanged) and the hour before which to delete."""
        keep_days = self._keep_days
        if keep_days is None:
            self._log_withdrawal(state)
            return state and _State(None, None, None, None, now), None
        cutoff, routine = _cutoff(now, keep_days), _State(keep_days, keep_days, None, None, now)
        old = _Expired(_count(database, cutoff), len(store.damaged_before(cutoff)), cutoff)
        if state is None:
            return (self._announce(None, old, now), None) if old else (routine, cutoff)
        trusted = -_MAX_BACKWARD_S <= now - state.checked_at <= _MAX_GAP_S
        current_days = state.current_days
        if trusted and (not old or (current_days is not None and current_days <= keep_days)):
            self._log_withdrawal(state)
            return routine, cutoff
        by_before = _cutoff(now, current_days) if trusted and current_days is not None else None
        if not old:
            # The clock was set back, so nothing is expired; the announcement remains.
            changed = replace(state, keep_days=keep_days, before=None, announced_at=None)
            return (changed if state.keep_days != keep_days else None), None
        due_s = now - state.announced_at if state.announced_at is not None else -1
        if state.before is None or state.keep_days != keep_days or not 0 <= due_s <= _MAX_NOTICE_S:
            return self._announce(state, old, now, trusted), by_before
        if due_s < _NOTICE_S:
            if self._first:
                log.warning(
                    "%s: %s; %s", self._path, announced_deletion(database), KEEP_ROWS_ADVICE
                )
            return replace(state, checked_at=now if trusted else state.checked_at), by_before
        rest = replace(old, rows=old.rows - _count(database, state.before), files=0)
        if rest and cutoff - state.before > _MAX_STEP_HOURS:
            # Delete only what was announced: the clock may have been set forward since.
            return self._announce(state, rest, now, trusted), state.before
        return routine, state.before

    def _announce(
        self, state: _State | None, old: _Expired, now: int, trusted: bool = True
    ) -> _State:
        advice, checked_at, current_days = KEEP_ROWS_ADVICE, now, None
        if state is not None:
            current_days = state.current_days
            if not trusted:
                checked_at = state.checked_at
                advice = (
                    f"the clock went from {_format_time(checked_at)} to {_format_time(now)} since "
                    "the last check: if it is wrong, correct it before then"
                )
        log.warning(
            "%s: %s will be deleted on %s because record.keep_days is %s; %s",
            self._path,
            old,
            _format_time(now + _NOTICE_S),
            self._keep_days,
            advice,
        )
        return _State(current_days, self._keep_days, old.cutoff, now, checked_at)

    def _log_withdrawal(self, state: _State | None) -> None:
        if state is not None and state.before is not None:
            log.info("%s: the announced deletion is cancelled", self._path)


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


def _describe_rows(rows: int, before: int) -> str:
    return f"{rows:,} word{'' if rows == 1 else 's'} from before {_format_time(before * _HOUR_S)}"


def _format_time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc).astimezone():%Y-%m-%d %H:%M}"
