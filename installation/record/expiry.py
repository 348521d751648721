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
# Seconds since an announcement after which it is not to be trusted either; more than a machine is
# off that is switched on for some days a month.
_MAX_NOTICE_S = 60 * 86_400
_HOUR_S = 3600
_DAY_HOURS = 24
# Hours of the record that may have become too old between an announcement and the deletion.
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
        When the record was last looked at by a clock to be trusted, the same.
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


@dataclass(frozen=True, slots=True)
class _Old:
    """What is too old: rows, and files set aside as damaged, from before an hour."""

    rows: int
    files: int
    cutoff: int

    def __bool__(self) -> bool:
        return bool(self.rows or self.files)

    def __str__(self) -> str:
        files = f"{self.files} file{'' if self.files == 1 else 's'} set aside as damaged"
        return f"{_words(self.rows, self.cutoff)}{f' and {files}' if self.files else ''}"


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
        if self._keep_days is None and not self._first:
            return
        with store.transaction() as database:
            state = _load(database)
            if state is not None and not self._first and state.keep_days != self._keep_days:
                # A program that was started since goes by another setting, which counts.
                return
            changed, before = self._look(state, database, store, int(now))
            if changed is not None:
                _save(database, changed)
        self._first = False
        if before is not None and (gone := store.delete_before(before)):
            log.info("%s: %s deleted, as record.keep_days says", self._path, _words(gone, before))

    def _look(
        self, state: _State | None, database: sqlite3.Connection, store: Store, now: int
    ) -> tuple[_State | None, int | None]:
        """Return what to remember, None for no change, and before which hour to delete."""
        keep_days = self._keep_days
        if keep_days is None:
            self._say_if_withdrawn(state)
            return state and _State(None, None, None, None, now), None
        cutoff, routine = _cutoff(now, keep_days), _State(keep_days, keep_days, None, None, now)
        old = _Old(_count(database, cutoff), len(store.damaged_before(cutoff)), cutoff)
        if state is None:
            return (self._announce(None, old, now), None) if old else (routine, cutoff)
        trusted = -_MAX_BACK_S <= now - state.looked <= _MAX_GAP_S
        in_force = state.in_force
        if trusted and (not old or (in_force is not None and in_force <= keep_days)):
            self._say_if_withdrawn(state)
            return routine, cutoff
        by_before = _cutoff(now, in_force) if trusted and in_force is not None else None
        if not old:
            # The clock was put back: nothing is too old by it, and what was announced stands.
            changed = replace(state, keep_days=keep_days, before=None, announced=None)
            return (changed if state.keep_days != keep_days else None), None
        due_s = now - state.announced if state.announced is not None else -1
        if state.before is None or state.keep_days != keep_days or not 0 <= due_s <= _MAX_NOTICE_S:
            return self._announce(state, old, now, trusted), by_before
        if due_s < _NOTICE_S:
            if self._first:
                log.warning("%s: %s; %s", self._path, announced(database), KEEP_THEM)
            return replace(state, looked=now if trusted else state.looked), by_before
        rest = replace(old, rows=old.rows - _count(database, state.before), files=0)
        if rest and cutoff - state.before > _MAX_STEP_HOURS:
            # Only what was announced is deleted: the clock may have been put forward since.
            return self._announce(state, rest, now, trusted), state.before
        return routine, state.before

    def _announce(self, state: _State | None, old: _Old, now: int, trusted: bool = True) -> _State:
        advice, looked, in_force = KEEP_THEM, now, None
        if state is not None:
            in_force = state.in_force
            if not trusted:
                looked = state.looked
                advice = (
                    f"the clock went from {_shown(looked)} to {_shown(now)} since the last look: "
                    "if it is wrong, set it right before then"
                )
        log.warning(
            "%s: %s will be deleted on %s, as record.keep_days is %s; %s",
            self._path,
            old,
            _shown(now + _NOTICE_S),
            self._keep_days,
            advice,
        )
        return _State(in_force, self._keep_days, old.cutoff, now, looked)

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
